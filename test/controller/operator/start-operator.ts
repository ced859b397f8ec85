import { join } from 'node:path';
import { execPath } from 'node:process';
import { fileURLToPath } from 'node:url';
import { startProcess, type RunningProcess } from '../../support/processes.ts';
import { waitFor } from '../../support/wait-for.ts';

/** The program as users start it. */
export const operatorProgram = fileURLToPath(new URL('../../../bin/kmm-operator.js', import.meta.url));

export interface StartOperator {
  readonly args: readonly string[];
  /** Where its output goes. */
  readonly directory: string;
  readonly name: string;
  readonly namespace: string;
  /** More variables. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts kmm-operator. Its logs are its output. */
export function startOperator({
  args,
  directory,
  name,
  namespace,
  environment,
}: StartOperator): RunningProcess {
  return startProcess(execPath, [operatorProgram, ...args], {
    log: join(directory, `${name}.out`),
    env: { ...environment, OPERATOR_NAMESPACE: namespace },
  });
}

/** One entry of a JSON log. */
export type LogEntry = Readonly<Record<string, unknown>>;

/** Reads what a program has logged. */
export function logOf(process: RunningProcess): LogEntry[] {
  return process
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogEntry);
}

/** Waits for an entry of the log. */
export async function logged(process: RunningProcess, message: string): Promise<LogEntry> {
  return waitFor(
    () => {
      const entry = logOf(process).find((one) => one['message'] === message);
      if (entry === undefined) throw new Error(`"${message}" was not logged: ${process.output()}`);
      return entry;
    },
    { timeout: 40_000, interval: 50 },
  );
}
