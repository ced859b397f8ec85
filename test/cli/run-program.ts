import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** The program as users start it. */
export const program = fileURLToPath(new URL('../../bin/kmm-sign.js', import.meta.url));

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
  /** The Node that runs it. */
  readonly node?: string;
  /** A program with arguments that starts it, given Node and the rest as further arguments. */
  readonly through?: readonly string[];
}

export interface Finished {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the program with an environment that holds nothing but what a test gives. */
export function startProgram(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const { PATH = '', TMPDIR } = process.env;
  const words = [...(options.through ?? []), options.node ?? process.execPath, program, ...args];
  return spawn(words[0] ?? '', words.slice(1), {
    // No place for a cache, so that no run knows what another has read.
    env: {
      PATH,
      HOME: '/nonexistent',
      XDG_CACHE_HOME: '/dev/null',
      ...(TMPDIR === undefined ? {} : { TMPDIR }),
      ...options.env,
    },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
}

/** Runs the program to its end. */
export async function runProgram(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = startProgram(args, options);
  child.stdin?.end(options.input ?? '');
  return finished(child);
}

/** Waits for a program that was started. */
export async function finished(child: ChildProcess): Promise<Finished> {
  if (child.stdout === null || child.stderr === null)
    throw new Error('the output of the program is not piped');
  const [stdout, stderr, [exitCode, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  return { exitCode, signal, stdout, stderr };
}
