import { exitCodes } from './output/exit-codes.ts';
import { run } from './run.ts';

/** How long connections may linger after the work has ended, in milliseconds. */
const patience = 2000;

/** Runs the program in this process: signals in, exit code out. */
export async function runProcess(args: readonly string[]): Promise<void> {
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (interruption.signal.aborted) leave();
      interruption.abort();
    });
  }
  for (const stream of [process.stdout, process.stderr]) stream.on('error', forgiveClosedPipe);
  const exitCode = await run(args, interruption.signal);
  process.exitCode = exitCode;
  setTimeout(() => process.exit(exitCode), patience).unref();
}

/** Ends at once; temporary directories still go, since that happens on exit. */
function leave(): never {
  process.exit(exitCodes.interrupted);
}

/** Whoever reads our output may stop reading (`kmm-sign inspect … | head`): no reason to complain. */
function forgiveClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}
