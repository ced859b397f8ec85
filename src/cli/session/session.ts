import { createLogger, jsonLine, type Logger } from '../../shared/logger.ts';
import type { GlobalOptions } from '../options/global-options.ts';
import { textLine } from '../output/text.ts';
import { createProgress, type Progress } from '../output/progress.ts';

/** The context of a command, besides its own options. */
export interface Session {
  readonly options: GlobalOptions;
  readonly environment: NodeJS.ProcessEnv;
  readonly logger: Logger;
  readonly progress: Progress;
  /** Aborted by SIGINT, SIGTERM and `--timeout`. */
  readonly signal: AbortSignal;
  /** Writes the result to stdout: one JSON document with `schemaVersion`, or text. */
  output(result: { readonly json: () => object; readonly text: () => string }): void;
}

/** The version of all JSON documents written to stdout. */
export const schemaVersion = 1;

/** Creates the session of one run. */
export function createSession(options: GlobalOptions, signal: AbortSignal): Session {
  const progress = createProgress({
    stream: process.stderr,
    live:
      options.tty &&
      process.stderr.isTTY &&
      process.env['CI'] === undefined &&
      process.env['TERM'] !== 'dumb',
    silent: options.quiet,
    format: options.logFormat,
  });
  return {
    options,
    environment: process.env,
    progress,
    logger: createLogger(
      options.quiet ? 'error' : options.verbosity,
      options.logFormat === 'json' ? jsonLine : textLine,
      (line) => progress.line(line),
    ),
    signal,
    output({ json, text }) {
      progress.end();
      if (options.format === 'json')
        return void process.stdout.write(`${JSON.stringify({ schemaVersion, ...json() })}\n`);
      const lines = text();
      if (lines !== '') process.stdout.write(`${lines}\n`);
    },
  };
}
