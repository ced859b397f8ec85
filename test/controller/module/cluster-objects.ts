import type { V1PodSpec } from '@kubernetes/client-node';
import {
  jobs,
  nodes,
  pods,
  type FromServer,
  type Job,
} from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { isApiError } from '../../../src/controller/runtime/api/errors.ts';
import type { KubernetesEvent } from '../../../src/controller/runtime/event-recorder.ts';
import { namespaces } from '../../support/namespaces.ts';

export async function createNamespace(client: ApiClient, name: string): Promise<void> {
  await client.create(namespaces, { metadata: { name } });
}

export function reasonsOf(events: readonly KubernetesEvent[]): string[] {
  return events.map(({ reason }) => reason);
}

/** The image that the pods of a loader copy, or that the pods of a device plugin run. */
export function imageOf(spec: V1PodSpec | undefined): string | undefined {
  return (spec?.initContainers?.[1] ?? spec?.containers[0])?.image;
}

/** What a node is. */
export interface NodeDescription {
  readonly name: string;
  readonly kernel: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: { key: string; effect: string; value?: string }[];
  readonly architecture?: string;
  readonly osImage?: string;
  readonly bootId?: string;
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
  { name, kernel, architecture = 'amd64', osImage = 'Debian GNU/Linux 12', bootId = '' }: NodeDescription,
): Promise<void> {
  const unused = { machineID: '', systemUUID: '', containerRuntimeVersion: '' };
  const nodeInfo = {
    ...unused,
    bootID: bootId,
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

/** Completes a Job, unless an operator that has found what it pushed has deleted it already. */
export async function completeJob(client: ApiClient, job: Pick<FromServer<Job>, 'metadata'>): Promise<void> {
  await endJob(client, job, 'Complete').catch((error: unknown) => {
    if (!isApiError(error, 'NOT_FOUND')) throw error;
  });
}

/** Creates the pod of a Job, which has ended with a termination message. */
export async function createEndedPod(
  client: ApiClient,
  { metadata: { namespace, name, uid = '', labels } }: FromServer<Job>,
  message: string,
): Promise<void> {
  const owner = { apiVersion: 'batch/v1', kind: 'Job', name, uid, controller: true };
  const container = { name: 'main', image: 'registry.example/main:1' };
  const metadata = { namespace, name: `${name}-pod`, labels, ownerReferences: [owner] };
  await client.create(pods, { metadata, spec: { containers: [container] } });
  const terminated = { exitCode: 0, reason: 'Completed', message };
  const containerStatus = { ...container, imageID: '', ready: false, restartCount: 0, state: { terminated } };
  const status = { phase: 'Succeeded', containerStatuses: [containerStatus] };
  await client.patch(pods, metadata, { status }, { subresource: 'status' });
}
