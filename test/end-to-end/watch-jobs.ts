import { jobs, type Job } from '../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { Informer } from '../../src/controller/runtime/cache/informer.ts';

/** All Jobs that there are and were since it began. */
export interface WatchedJobs extends AsyncDisposable {
  /** `build` or `sign` for each, sorted. */
  kinds(): string[];
}

/** Writes down each Job that a cluster comes to have, so that one that is deleted and made anew counts twice. */
export async function watchJobs(client: ApiClient): Promise<WatchedJobs> {
  const stop = new AbortController();
  const informer = new Informer({ client, resource: jobs, project: (job: Job) => job });
  const kinds = new Map<string | undefined, string>();
  informer.onEvent((event) => {
    if (event.type === 'deleted') return;
    const { uid, labels } = event.object.metadata;
    kinds.set(uid, labels?.['kmm.node.kubernetes.io/job-type'] ?? '');
  });
  const running = informer.run(stop.signal);
  await informer.waitForSync(stop.signal);
  return {
    kinds: () => [...kinds.values()].toSorted(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
