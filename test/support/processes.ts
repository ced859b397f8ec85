import { spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { findProgram } from './programs.ts';

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Has the kernel end a program with this process: one that is killed, as vitest does in the end, ends nothing itself. */
const setpriv = findProgram('setpriv');
const launcher = setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL', '--'];

/** A program running in the background, with its output in a file. */
export interface RunningProcess {
  readonly pid: number;
  readonly exited: boolean;
  /** Null while it runs, or if a signal ended it. */
  readonly exitCode: number | null;
  /** Returns the end of its output. */
  output(): string;
  /** Stops it and waits until it has ended. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a program in the background. It is stopped with this process at the latest. */
export function startProcess(
  program: string,
  args: readonly string[],
  { log, env, cwd }: { log: string; env?: Readonly<Record<string, string>>; cwd?: string },
): RunningProcess {
  const file = openSync(log, 'a');
  const [first = program, ...words] = [...launcher, program, ...args];
  const child = spawn(first, words, {
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

/** Ports below the ephemeral range, from which an outgoing connection could take one before it is used. */
const [firstPort, lastPort] = [15_000, 32_000];

/** Returns a port of 127.0.0.1 that is free, and likely to stay free until the caller uses it. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(firstPort, lastPort);
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch {
    return false;
  }
  const closed = once(server, 'close');
  server.close();
  await closed;
  return true;
}
