import { Option, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { type LogLevel, logLevels } from '../../shared/logger.ts';
import type { LogFormat } from '../output/text.ts';
import { parseDuration } from './values.ts';

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
