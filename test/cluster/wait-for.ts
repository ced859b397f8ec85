import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { listPages } from '../../src/controller/runtime/api/list.ts';
import { jobs, pods, type Job, type Pod } from '../../src/controller/observe/cluster/resources.ts';
import { waitFor } from '../support/wait-for.ts';

const patience = { timeout: 50_000, interval: 100 };

/** Waits until something is as it should be, and gives it. The last error tells how it was. */
export function eventually<T>(look: () => Promise<T>): Promise<T> {
  return waitFor(look, patience);
}

/** Waits until a Job has a condition, and gives its pod. @throws Error with the pod's status */
export async function waitForJob(
  client: ApiClient,
  { metadata: { namespace = 'default', name } }: Job,
  condition: 'Complete' | 'Failed',
): Promise<Pod> {
  return eventually(async () => {
    const [pod] = await podsOf(client, { namespace, labelSelector: `job-name=${name}` });
    const { status } = await client.get(jobs, { namespace, name });
    if (pod !== undefined && status?.conditions?.some(({ type }) => type === condition) === true) return pod;
    throw new Error(`the Job is not ${condition}: ${JSON.stringify(pod?.status)}`);
  });
}

/** Lists pods. */
export async function podsOf(
  client: ApiClient,
  selection: { readonly namespace?: string; readonly labelSelector?: string },
): Promise<Pod[]> {
  const found: Pod[] = [];
  for await (const { items } of listPages(client, pods, selection)) found.push(...items);
  return found;
}

/** Reads a pod's log through the API server. */
export async function readLog(client: ApiClient, { metadata }: Pod, query = {}): Promise<string> {
  const path = `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}/log`;
  const response = await client.open({ method: 'GET', path, query, accept: '*/*' });
  return (await response.setEncoding('utf8').toArray()).join('');
}
