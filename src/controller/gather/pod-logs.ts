import * as z from 'zod';
import { inParallel } from '../../shared/parallel.ts';
import { pods, type CustomResource } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { pathOf } from '../runtime/api/resource.ts';
import { redactText } from './redaction.ts';

/** Limits of one log: the last lines, and of these at most so many bytes. */
const maxLines = 20_000;
const maxBytes = 8 * 1024 * 1024;
/** Milliseconds for one log. */
const timeout = 60_000;
const concurrency = 4;

const containerStatus = z.looseObject({
  name: z.string(),
  restartCount: z.number().catch(0),
  state: z.looseObject({ running: z.unknown(), terminated: z.unknown() }).partial().catch({}),
  lastState: z.looseObject({ terminated: z.unknown() }).partial().catch({}),
});
const statuses = z.array(containerStatus).catch([]);
const podStatus = z
  .looseObject({ initContainerStatuses: statuses, containerStatuses: statuses })
  .partial()
  .catch({});

/** The log of a container that runs, or of the one before its last restart. */
interface ContainerLog {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly previous: boolean;
}

export interface PodLogOptions {
  readonly client: ApiClient;
  readonly signal: AbortSignal;
  /** Writes a log to its place. */
  readonly write: (path: readonly string[], text: string) => Promise<void>;
  readonly onFailure: (what: string, error: unknown) => void;
}

/** Reads the logs of pods: of every container that has started, the current and the previous one. */
export async function gatherPodLogs(found: readonly CustomResource[], options: PodLogOptions): Promise<void> {
  const { client, signal, write, onFailure } = options;
  const tasks = found.flatMap(logsOf).map((log) => async () => {
    const { namespace, pod, container, previous } = log;
    try {
      const text = await readLog(client, log, signal);
      const file = previous ? 'previous.log' : 'current.log';
      await write(
        ['namespaces', namespace, 'pods', pod, container, container, 'logs', file],
        redactText(text),
      );
    } catch (error) {
      signal.throwIfAborted();
      onFailure(`${previous ? 'previous ' : ''}log of ${container} of pod ${namespace}/${pod}`, error);
    }
  });
  await inParallel(tasks, concurrency, signal);
}

function readLog(
  client: ApiClient,
  { namespace, pod, container, previous }: ContainerLog,
  signal: AbortSignal,
): Promise<string> {
  return client.requestText({
    method: 'GET',
    path: pathOf(pods, { namespace, name: pod, subresource: 'log' }),
    query: { container, previous, tailLines: maxLines, limitBytes: maxBytes, timestamps: true },
    accept: '*/*',
    signal,
    timeout,
  });
}

function logsOf({ metadata, status }: CustomResource): ContainerLog[] {
  const { namespace = '', name: pod } = metadata;
  const { initContainerStatuses = [], containerStatuses = [] } = podStatus.parse(status ?? {});
  return [...initContainerStatuses, ...containerStatuses].flatMap((one) => {
    const log = { namespace, pod, container: one.name };
    const hasStarted = one.state.running !== undefined || one.state.terminated !== undefined;
    const hasRestarted = one.restartCount > 0 || one.lastState.terminated !== undefined;
    return [
      ...(hasStarted || hasRestarted ? [{ ...log, previous: false }] : []),
      ...(hasRestarted ? [{ ...log, previous: true }] : []),
    ];
  });
}
