import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { vi } from 'vitest';
import { parse } from 'yaml';
import { jobs, nodes, type FromServer, type Job } from '../../../src/controller/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import type { KubernetesObject } from '../../../src/controller/runtime/object-key.ts';
import type { Resource } from '../../../src/controller/runtime/resource.ts';

const definitionFolder = fileURLToPath(new URL('../../../deploy/crds/', import.meta.url));

const definitions: Resource<
  KubernetesObject & { status?: { conditions?: { type: string; status: string }[] } }
> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};

const namespaces: Resource = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};

/** Applies our CustomResourceDefinitions, and waits until they are served. */
export async function installDefinitions(client: ApiClient): Promise<void> {
  for (const file of readdirSync(definitionFolder)) {
    await installDefinition(
      client,
      parse(readFileSync(`${definitionFolder}${file}`, 'utf8')) as KubernetesObject,
    );
  }
}

/** Applies a CustomResourceDefinition, and waits until it is served. */
export async function installDefinition(client: ApiClient, definition: KubernetesObject): Promise<void> {
  const { name } = definition.metadata;
  await client.apply(definitions, definition);
  await vi.waitFor(
    async () => {
      const { status } = await client.get(definitions, { name });
      if (!status?.conditions?.some(({ type, status: is }) => type === 'Established' && is === 'True')) {
        throw new Error(`${name} is not established`);
      }
    },
    { timeout: 20_000 },
  );
}

export async function createNamespace(client: ApiClient, name: string): Promise<void> {
  await client.create(namespaces, { metadata: { name } });
}

/** What a node is. */
export interface NodeDescription {
  readonly name: string;
  readonly kernel: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: { key: string; effect: string; value?: string }[];
  readonly architecture?: string;
  readonly osImage?: string;
}

/** Makes a node as a kubelet registers it. */
export async function createNode(client: ApiClient, description: NodeDescription): Promise<void> {
  const { name, labels = {}, taints = [] } = description;
  await client.create(nodes, { metadata: { name, labels }, spec: { taints } });
  await setNodeInfo(client, description);
}

/** Tells of a node's kernel, as a kubelet does after a reboot. */
export async function setNodeInfo(
  client: ApiClient,
  { name, kernel, architecture = 'amd64', osImage = 'Debian GNU/Linux 12' }: NodeDescription,
): Promise<void> {
  const unused = { machineID: '', systemUUID: '', bootID: '', containerRuntimeVersion: '' };
  const nodeInfo = {
    ...unused,
    kubeletVersion: '',
    kubeProxyVersion: '',
    operatingSystem: 'linux',
    kernelVersion: kernel,
    architecture,
    osImage,
  };
  await client.patch(nodes, { name }, { status: { nodeInfo } }, { subresource: 'status' });
}

/** Ends a Job as the Job controller does. */
export async function endJob(
  client: ApiClient,
  { metadata }: Pick<FromServer<Job>, 'metadata'>,
  result: 'Complete' | 'Failed',
): Promise<void> {
  const now = new Date().toISOString();
  const condition = (type: string) => ({
    type,
    status: 'True',
    lastTransitionTime: now,
    lastProbeTime: now,
    reason: result === 'Failed' ? 'BackoffLimitExceeded' : 'CompletionsReached',
    message:
      result === 'Failed'
        ? 'Job has reached the specified backoff limit'
        : 'Reached expected number of succeeded pods',
  });
  const status =
    result === 'Complete'
      ? {
          succeeded: 1,
          completionTime: now,
          conditions: [condition('SuccessCriteriaMet'), condition('Complete')],
        }
      : { failed: 1, conditions: [condition('FailureTarget'), condition('Failed')] };
  await client.patch(
    jobs,
    metadata,
    { status: { startTime: now, uncountedTerminatedPods: {}, ...status } },
    { subresource: 'status' },
  );
}
