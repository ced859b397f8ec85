import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** What the operator has done since it was asked to forget. */
export interface OperatorReport {
  /** Requests to the API server, by verb. */
  calls: Record<string, number>;
  /** Seconds of each reconcile. */
  reconciles: number[];
  /** Reconciles that failed. */
  errors: number;
  /** Nodes that it knows. */
  nodes: number;
  /** Modules that wait or are worked on. */
  busy: number;
  /** Bytes of its resident set. */
  memory: number;
}

export function emptyReport(): OperatorReport {
  return { calls: {}, reconciles: [], errors: 0, nodes: 0, busy: 0, memory: 0 };
}

/** The operator as a process of its own. */
export interface OperatorProcess extends AsyncDisposable {
  report(): Promise<OperatorReport>;
  /** Gives a last report and begins a new one. */
  forget(): Promise<OperatorReport>;
}

/** Starts the operator. It ends with this process at the latest. */
export function startOperatorProcess(kubeconfig: string): OperatorProcess {
  const child = fork(fileURLToPath(new URL('process.ts', import.meta.url)), [kubeconfig]);
  const ended = once(child, 'close');
  const ask = async (question: string): Promise<OperatorReport> => {
    const answer = once(child, 'message');
    child.send(question);
    const [report] = (await Promise.race([
      answer,
      ended.then(() => Promise.reject(new Error('the operator ended'))),
    ])) as [OperatorReport];
    return report;
  };
  return {
    report: () => ask('report'),
    forget: async () => {
      const last = await ask('report');
      await ask('forget');
      return last;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Requests other than watches. */
export function callsOf({ calls }: OperatorReport): number {
  return Object.entries(calls).reduce((sum, [verb, count]) => (verb === 'WATCH' ? sum : sum + count), 0);
}
