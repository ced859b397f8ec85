import { runOperatorProgram } from './program.ts';
import { operatorExitCodes } from './flags.ts';

/** Milliseconds that connections may linger after the work has ended. */
const patience = 2000;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // A second signal ends the process at once.
    if (stop.signal.aborted) process.exit(operatorExitCodes.failed);
    stop.abort();
  });
}
const exitCode = await runOperatorProgram(process.argv.slice(2), stop.signal);
process.exitCode = exitCode;
setTimeout(() => process.exit(exitCode), patience).unref();
