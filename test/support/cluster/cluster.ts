import { join } from 'node:path';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../api-server.ts';
import { createAuthority } from '../certificates.ts';
import { startControlPlane } from './control-plane.ts';
import { startKubelet, type Kubelet, type KubeletOptions } from './kubelet.ts';

/** The real programs that a cluster needs, except those of its images. */
export const clusterPrograms = [
  ...apiServerPrograms,
  'kube-controller-manager',
  'kube-scheduler',
  'bwrap',
  'nsenter',
  'busybox',
  'skopeo',
  'umoci',
  'modinfo',
] as const;

/** A real API server with a real controller manager and scheduler; tests add the nodes. */
export interface Cluster extends AsyncDisposable {
  readonly api: ApiServer;
  /** Path of a kubeconfig with all permissions. */
  readonly kubeconfig: string;
  /** Creates a client with all permissions. */
  client(fieldManager?: string): Promise<ApiClient>;
  /** Starts a kubelet, which runs the pods of the nodes added to it. It stops with the cluster. */
  kubelet(options?: KubeletOptions): Promise<Kubelet>;
}

export interface ClusterOptions {
  /** Runs before the controllers start, which discover new kinds of resources only every 30 seconds. */
  readonly prepare?: (client: ApiClient) => Promise<void>;
}

/**
 * Starts a cluster without nodes. Its controllers are those for Jobs, DaemonSets, ReplicaSets and
 * Deployments, garbage collection, namespaces, service accounts and the TTL of finished Jobs. Service account
 * admission is disabled: pods need no account and get no token. No controller monitors nodes: their status is
 * what their kubelet reports.
 * @throws Error with the log of the program that did not start
 */
export async function startCluster({ prepare }: ClusterOptions = {}): Promise<Cluster> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await createTemporaryDirectory());
  const api = stack.use(await startApiServer());
  await prepare?.(await api.client());
  stack.use(await startControlPlane({ kubeconfig: api.kubeconfig, directory: directory.path }));
  const authority = await createAuthority(join(directory.path, 'certificates'));
  const tls = await authority.issueServer('kubelet');
  const kubelets: Kubelet[] = [];
  stack.defer(async () => {
    await Promise.all(kubelets.map((kubelet) => kubelet[Symbol.asyncDispose]()));
  });
  const owned = stack.move();
  return {
    api,
    kubeconfig: api.kubeconfig,
    client: (fieldManager) => api.client(undefined, fieldManager),
    async kubelet(options = {}) {
      const kubelet = await startKubelet({ ...options, client: await api.client(undefined, 'kubelet'), tls });
      kubelets.push(kubelet);
      return kubelet;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
