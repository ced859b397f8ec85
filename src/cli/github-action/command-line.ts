import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import type { ReportedError } from '../output/errors.ts';
import { exitCodes } from '../output/exit-codes.ts';

/** How a command ended. */
export interface CommandResult {
  readonly exitCode: number;
  /** What it wrote to stdout: JSON, or nothing if it failed. */
  readonly stdout: string;
  readonly error: ReportedError | undefined;
}

const errorLine = /^\{"schemaVersion":1,"error":/;

/**
 * Runs a command of the program, which is in the same file as the action, in a process of its own. Lines on its stderr
 * go to `log` as they come, but for the error at its end.
 */
export async function runCommandLine(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  log: (line: string) => void,
): Promise<CommandResult> {
  const child = spawn(process.execPath, [process.argv[1] ?? '', ...args], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // A job is cancelled with these; the program then cleans up.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  let error: ReportedError | undefined;
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (errorLine.test(line)) error = (JSON.parse(line) as { readonly error: ReportedError }).error;
    else log(line);
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const [stdout, [exitCode]] = await Promise.all([text(child.stdout), closed]);
  return { exitCode: exitCode ?? exitCodes.interrupted, stdout, error };
}
