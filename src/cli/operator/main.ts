import {
  operatorExitCodes,
  operatorHelp,
  parseOperatorFlags,
  type OperatorExitCode,
  type OperatorFlags,
} from './flags.ts';
import { readFile } from 'node:fs/promises';
import type { KubeConfig } from '@kubernetes/client-node';
import type { OperatorConfiguration } from '../../controller/configuration/configuration.ts';
import type { RunOperatorOptions } from '../../controller/operator/run-operator.ts';
import type { LeadershipEnd } from '../../controller/runtime/leader/leader-election.ts';
import { createLogger, jsonLine, type Logger } from '../../shared/logger.ts';
import { KmmError } from '../../shared/errors.ts';
import { usageError, type CliError } from '../output/usage-error.ts';
import { printable } from '../../shared/printable.ts';
import { keepHeapModerate } from '../../shared/small-heap.ts';
import { version, versionFacts, versionText } from '../output/version.ts';

/** Codes of errors caused by how the program was started. */
const usageCodes = new Set([
  'USAGE',
  'INVALID_OPERATOR_CONFIGURATION',
  'INVALID_CONFIGURATION',
  'OUTPUT_EXISTS',
]);

/** Milliseconds that connections may linger after the work has ended. */
const exitDelay = 2000;

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
setTimeout(() => process.exit(exitCode), exitDelay).unref();

/** Runs kmm-operator until it ends or the signal is aborted. Logs go to stderr. Never throws. */
async function runOperatorProgram(args: readonly string[], signal: AbortSignal): Promise<OperatorExitCode> {
  let log = createLogger('info', jsonLine, writeLine);
  try {
    const flags = parseOperatorFlags(args);
    if (flags.help) return print(operatorHelp(flags.named ? flags.command : undefined));
    if (flags.command === 'version')
      return print(flags.json ? JSON.stringify(versionFacts()) : versionText());
    log = createLogger(flags.logLevel, jsonLine, writeLine);
    return await perform(flags, log, signal);
  } catch (error) {
    if (error instanceof KmmError && usageCodes.has(error.code)) {
      writeLine(`kmm-operator: ${printable(error.message)}`);
      if (error.hint !== undefined) writeLine(`hint: ${printable(error.hint)}`);
      return operatorExitCodes.usage;
    }
    log.error('operator failed', { error });
    return operatorExitCodes.failed;
  }
}

async function perform(flags: OperatorFlags, log: Logger, signal: AbortSignal): Promise<OperatorExitCode> {
  if (flags.command === 'gather') return gatherInto(flags, log, signal);
  // What waits most of the time shall not keep memory that only its busiest moments need.
  keepHeapModerate();
  const configuration = await readConfiguration(flags, log);
  const kubeconfig = await readKubeconfig(flags.kubeconfig);
  const shared = { configuration, kubeconfig, version, log, signal };
  if (flags.command === 'webhook') {
    const { runWebhook } = await import('../../controller/webhook/run-webhook.ts');
    await runWebhook({ ...shared, webhooks: flags.webhooks });
    return operatorExitCodes.stopped;
  }
  const end = await lead(flags, shared);
  return end === 'stopped' ? operatorExitCodes.stopped : operatorExitCodes.failed;
}

async function gatherInto(flags: OperatorFlags, log: Logger, signal: AbortSignal): Promise<OperatorExitCode> {
  const { output: directory, ...options } = flags.gather;
  const kubeconfig = await readKubeconfig(flags.kubeconfig);
  const { gather } = await import('../../controller/gather/gather.ts');
  const result = await gather({ ...options, directory, kubeconfig, version, log, signal });
  const { objects, problems, failures } = result;
  writeLine(`${objects} objects were written to ${directory}; problems found: ${problems}, see summary.md`);
  if (failures > 0) writeLine(`${failures} could not be gathered; the end of summary.md lists them`);
  return operatorExitCodes.stopped;
}

async function lead(
  { command }: OperatorFlags,
  shared: Omit<RunOperatorOptions, 'factories' | 'kind'>,
): Promise<LeadershipEnd> {
  const { runOperator } = await import('../../controller/operator/run-operator.ts');
  if (command === 'hub') {
    const { hubControllers } = await import('../../controller/operator/hub.ts');
    return runOperator({ ...shared, kind: 'hub', factories: [hubControllers] });
  }
  if (command === 'nfd') {
    const { nfdControllers } = await import('../../controller/operator/nfd.ts');
    return runOperator({ ...shared, kind: 'nfd', factories: [nfdControllers] });
  }
  const { controllerFactories } = await import('../../controller/operator/controllers.ts');
  return runOperator({ ...shared, factories: controllerFactories(shared.configuration) });
}

async function readConfiguration(
  { command, config: file }: OperatorFlags,
  log: Logger,
): Promise<OperatorConfiguration> {
  const { loadConfiguration } = await import('../../controller/configuration/configuration.ts');
  const kind = command === 'hub' || command === 'nfd' ? command : 'cluster';
  if (file === undefined) return loadConfiguration('', process.env, kind);
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw unreadable('configuration', file, error.code);
    // The ConfigMap is optional; in a pod that mounts one that does not exist, the directory is empty.
    log.info('no configuration file, using defaults', { file });
    return '';
  });
  return loadConfiguration(text, process.env, kind);
}

async function readKubeconfig(file: string | undefined): Promise<KubeConfig> {
  const { loadConfig } = await import('../../controller/runtime/api/connection.ts');
  return loadConfig(file).catch((error: NodeJS.ErrnoException) => {
    throw unreadable('kubeconfig', file ?? 'of the environment', error.code);
  });
}

/**
 * Builds the error for an unreadable file. The original message may quote the file, which may contain
 * credentials.
 */
function unreadable(what: string, file: string, reason = 'it is not valid'): CliError {
  return usageError(`The ${what} ${file} cannot be read: ${reason}`);
}

function print(text: string): OperatorExitCode {
  process.stdout.write(`${text}\n`);
  return operatorExitCodes.stopped;
}

function writeLine(line: string): void {
  process.stderr.write(`${line}\n`);
}
