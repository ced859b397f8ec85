import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { whenAborted } from '../../shared/abortable.ts';
import { exitCodes, type ExitCode } from '../output/exit-codes.ts';
import { readGlobalOptions, createSession, type Session } from './session.ts';

/** Milliseconds that work may take to clean up after it was aborted. */
const cleanupTimeout = 10_000;

/** The state of one run: its session, once the command line has been parsed, and how it ends. */
export class Runtime {
  session: Session | null = null;
  exitCode: ExitCode = exitCodes.done;
  readonly #interruption: AbortSignal;
  readonly #timeout = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(interruption: AbortSignal) {
    this.#interruption = interruption;
  }

  /** Why the run was told to stop, if it was. */
  get stopped(): 'interrupted' | 'timeout' | null {
    if (this.#interruption.aborted) return 'interrupted';
    return this.#timeout.signal.aborted ? 'timeout' : null;
  }

  /** Starts the session and the clock of `--timeout`. */
  start(root: CommandUnknownOpts): void {
    const options = readGlobalOptions(root);
    if (options.timeout !== undefined) this.#timer = setTimeout(() => this.#timeout.abort(), options.timeout);
    this.session = createSession(options, AbortSignal.any([this.#interruption, this.#timeout.signal]));
  }

  /** Runs a command's work in the session. */
  async perform(work: (session: Session) => Promise<ExitCode | void>): Promise<void> {
    if (this.session === null) throw new Error('A command ran before its session began');
    const { session } = this;
    const stuck = new AbortController();
    try {
      this.exitCode =
        (await Promise.race([work(session), rejectIfStuck(session.signal, stuck.signal)])) ?? exitCodes.done;
    } finally {
      stuck.abort();
      session.progress.end();
    }
  }

  /** Stops the clock. */
  end(): void {
    clearTimeout(this.#timer);
  }
}

/** Rejects if the work has not stopped within `cleanupTimeout` after `stop` was aborted. */
async function rejectIfStuck(stop: AbortSignal, done: AbortSignal): Promise<never> {
  await whenAborted(stop);
  await sleep(cleanupTimeout, undefined, { signal: done, ref: false });
  throw new Error('The command did not stop in time');
}
