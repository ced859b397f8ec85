import { type CommandUnknownOpts, CommanderError } from '@commander-js/extra-typings';
import { adviceForOption } from './options/foreign-options.ts';
import { describeError, formatError } from './output/errors.ts';
import { type ExitCode, exitCodes } from './output/exit-codes.ts';
import { CliError, usageError } from './output/usage-error.ts';
import { buildProgram } from './program.ts';
import { Runtime } from './session/runtime.ts';

/** Milliseconds that connections may linger after the work has ended. */
const exitDelay = 2000;

/** Runs the program in this process: handles signals and sets the exit code. */
export async function runProcess(args: readonly string[]): Promise<void> {
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (interruption.signal.aborted) exitInterrupted();
      interruption.abort();
    });
  }
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignoreClosedPipe);
  const exitCode = await run(args, interruption.signal);
  process.exitCode = exitCode;
  setTimeout(() => process.exit(exitCode), exitDelay).unref();
}

/** Exits at once. Temporary directories are still deleted, since that happens on exit. */
function exitInterrupted(): never {
  process.exit(exitCodes.interrupted);
}

/** Ignores that a reader of the output has stopped reading, as in `kmm-sign inspect … | head`. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

/** Runs the program with its arguments and returns the exit code. Never throws. */
async function run(args: readonly string[], interruption: AbortSignal): Promise<ExitCode> {
  const runtime = new Runtime(interruption);
  const program = buildProgram(runtime, args);
  try {
    await program.parseAsync(protectCompatArguments(args), { from: 'user' });
    return runtime.exitCode;
  } catch (error) {
    return report(withAdvice(error, program, args), runtime, args);
  } finally {
    runtime.end();
  }
}

/**
 * Inserts `--` before the flags of `compat signimage`, which have a single dash as in Go programs, so that
 * they are left for that command to parse.
 */
function protectCompatArguments(args: readonly string[]): string[] {
  if (args[0] !== 'compat' || args[1] !== 'signimage' || args[2] === '--') return [...args];
  return ['compat', 'signimage', '--', ...args.slice(2)];
}

function report(thrown: unknown, runtime: Runtime, args: readonly string[]): ExitCode {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode === 0) return exitCodes.done;
    // Help was printed because there was no command, not because it was requested.
    if (thrown.code === 'commander.help') return exitCodes.usage;
  }
  const error = describeError(explainError(thrown, runtime));
  runtime.session?.progress.end();
  process.stderr.write(`${formatError(error, isJsonRequested(runtime, args) ? 'json' : 'text')}\n`);
  if (
    runtime.session?.options.verbosity === 'debug' &&
    thrown instanceof Error &&
    error.code === 'UNEXPECTED'
  ) {
    process.stderr.write(`${thrown.stack ?? ''}\n`);
  }
  return error.exitCode;
}

/**
 * Adds advice on an unknown option, which may be another program's. Its value may be a secret and is not
 * quoted.
 */
function withAdvice(thrown: unknown, program: CommandUnknownOpts, args: readonly string[]): unknown {
  if (!(thrown instanceof CommanderError) || thrown.code !== 'commander.unknownOption') return thrown;
  const [, option = ''] = /'([^'=]*)/.exec(thrown.message) ?? [];
  const advice = adviceForOption(option, commandOf(program, args));
  if (advice !== undefined) return usageError(`Unknown option '${option}'`, advice);
  return new CommanderError(thrown.exitCode, thrown.code, thrown.message.replace(/'([^'=]*)=[^]*'/, "'$1'"));
}

/** Returns the command that the arguments name. */
function commandOf(program: CommandUnknownOpts, args: readonly string[]): CommandUnknownOpts {
  let command = program;
  for (const word of args) command = command.commands.find((one) => one.name() === word) ?? command;
  return command;
}

/** Finds the reason for an error: a stopped run can fail in many ways. */
function explainError(thrown: unknown, runtime: Runtime): unknown {
  if (runtime.stopped === 'interrupted') {
    return new CliError({
      code: 'INTERRUPTED',
      message: 'Interrupted',
      hint: 'It is safe to run the same command again.',
    });
  }
  if (runtime.stopped === 'timeout') {
    return new CliError({
      code: 'TIMEOUT',
      message: 'The time allowed by --timeout is over',
      hint: 'Give --timeout a longer duration.',
    });
  }
  if (thrown instanceof CommanderError) {
    const [message = '', ...hints] = thrown.message.replace(/^error: /, '').split('\n');
    const sentence = `${message.charAt(0).toUpperCase()}${message.slice(1)}`;
    return usageError(sentence, hints.join(' ').replace(/^\(|\)$/g, '') || 'See kmm-sign --help.');
  }
  return thrown;
}

/** Returns whether JSON was requested, even by arguments that could not be parsed. */
function isJsonRequested(runtime: Runtime, args: readonly string[]): boolean {
  if (runtime.session !== null) {
    return runtime.session.options.format === 'json' || runtime.session.options.logFormat === 'json';
  }
  return args.some(
    (arg, at) =>
      /^--(?:log-)?format=json$/.test(arg) || (/^--(?:log-)?format$/.test(arg) && args[at + 1] === 'json'),
  );
}
