import { parseModule, type Module, type KernelStatus } from '../../../src/api/module/module.ts';
import { modules } from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { Informer } from '../../../src/controller/runtime/cache/informer.ts';

export interface FollowOptions {
  readonly client: ApiClient;
  readonly name: string;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
  /** Called for each phase that the Module's first kernel comes to. */
  readonly onPhase: (kernel: KernelStatus) => void;
}

/** Watches a Module until all its nodes have it. @throws Error when that fails, or what the signal was aborted with */
export async function followModule({ client, name, signal, onPhase }: FollowOptions): Promise<Module> {
  const stop = new AbortController();
  const end = Promise.withResolvers<Module>();
  let phase: string | undefined;
  const informer = new Informer({ client, resource: modules, project: parseModule });
  informer.onEvent((event) => {
    if (event.type === 'deleted' || event.object.metadata.name !== name) return;
    const { status } = event.object;
    const kernel = status?.kernels?.[0];
    if (kernel !== undefined && kernel.phase !== phase) onPhase(kernel);
    phase = kernel?.phase;
    if (kernel?.phase === 'Failed') end.reject(new Error(`${kernel.reason}: ${kernel.message}`));
    if (isReady(event.object)) end.resolve(event.object);
  });
  const onAbort = (): void => end.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const running = informer.run(stop.signal);
  try {
    return await end.promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    stop.abort();
    await running;
  }
}

function isReady({ status }: Module): boolean {
  return status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
}
