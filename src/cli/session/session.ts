import { Option, type CommandUnknownOpts } from '@commander-js/extra-typings';
import type { SecretReader } from '../../signer/keys/reference.ts';
import { createLogger, jsonLine, type Logger, type LogLevel, logLevels } from '../../shared/logger.ts';
import { textLine, type LogFormat } from '../output/text.ts';
import { createProgress, type Progress } from '../output/progress.ts';
import { parseDuration } from '../options/shared-options.ts';

/** Options of all commands. */
export interface GlobalOptions {
  readonly format: 'text' | 'json';
  readonly quiet: boolean;
  /** False if `--no-tty` disables bars and colours. */
  readonly tty: boolean;
  readonly verbosity: LogLevel;
  readonly logFormat: LogFormat;
  /** Milliseconds. */
  readonly timeout: number | undefined;
}

/** Adds the options of all commands to the root command. */
export function addGlobalOptions(root: CommandUnknownOpts): void {
  root
    .addOption(
      new Option('--format <format>', 'format of the output on stdout')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addOption(new Option('-q, --quiet', 'no progress and no warnings on stderr').default(false))
    .addOption(new Option('--no-tty', 'plain lines on stderr, even on a terminal'))
    .addOption(
      new Option('-v, --verbosity <level>', 'how much is logged').choices([...logLevels]).default('warn'),
    )
    .addOption(
      new Option('--log-format <format>', 'format of the log on stderr')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addOption(
      new Option('--timeout <duration>', 'give up after this time, such as 10m').argParser(parseDuration),
    );
}

/** Reads the options of `addGlobalOptions` from the root command, whose parsers have checked the values. */
export function readGlobalOptions(root: CommandUnknownOpts): GlobalOptions {
  const verbosity = logLevels.find((level) => level === root.getOptionValue('verbosity'));
  const timeout: unknown = root.getOptionValue('timeout');
  return {
    format: root.getOptionValue('format') === 'json' ? 'json' : 'text',
    quiet: root.getOptionValue('quiet') === true,
    tty: root.getOptionValue('tty') !== false,
    verbosity: verbosity ?? 'warn',
    logFormat: root.getOptionValue('logFormat') === 'json' ? 'json' : 'text',
    timeout: typeof timeout === 'number' ? timeout : undefined,
  };
}

/** The context of a command, besides its own options. */
export interface Session {
  readonly options: GlobalOptions;
  readonly environment: NodeJS.ProcessEnv;
  /** Reads the Secrets of `k8s://` references. */
  readonly secrets: SecretReader;
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
    secrets: {
      // Loaded only when a Secret is read.
      async read(namespace, name) {
        const { readSecret } = await import('./read-secret.ts');
        return readSecret({ namespace, name }, process.env, signal);
      },
    },
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
