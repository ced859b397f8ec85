import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A program that runs in the background, with its output in a file. */
export interface RunningProcess {
  readonly pid: number;
  readonly exited: boolean;
  /** Null while it runs, and when a signal ended it. */
  readonly exitCode: number | null;
  /** The end of what it printed. */
  output(): string;
  /** Ends it and waits for that. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a program in the background. It ends with this process at the latest. */
export function startProcess(
  program: string,
  args: readonly string[],
  { log, env, cwd }: { log: string; env?: Readonly<Record<string, string>>; cwd?: string },
): RunningProcess {
  const file = openSync(log, 'a');
  const child = spawn(program, args, {
    stdio: ['ignore', file, file],
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  closeSync(file);
  running.add(child);
  const ended = once(child, 'close').catch(() => {});
  void ended.then(() => running.delete(child));
  child.once('error', () => running.delete(child));
  return {
    pid: child.pid ?? 0,
    get exited() {
      return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
    },
    get exitCode() {
      return child.exitCode;
    },
    output: () => readFileSync(log, 'utf8').slice(-4000),
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      child.kill(signal);
      const reminder = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(reminder);
    },
  };
}

/** A TCP port of 127.0.0.1 that is free at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const closed = once(server, 'close');
  server.close();
  await closed;
  if (typeof address !== 'object' || address === null) throw new Error('no port was assigned');
  return address.port;
}
