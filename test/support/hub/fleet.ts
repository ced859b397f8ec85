import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { namespaces } from '../namespaces.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../api-server.ts';
import type { RunningProcess } from '../processes.ts';
import { installHubResources } from './crds.ts';
import { startWorkAgent } from './work-agent.ts';

/** The real programs that a hub with a spoke needs. */
export const fleetPrograms = [...apiServerPrograms, 'ocm-work'] as const;

/** The name of the spoke on the hub, and of its namespace there. */
export const spokeName = 'spoke-1';

/** A hub and one managed cluster: two API servers, with Open Cluster Management's work agent between them. */
export interface Fleet extends AsyncDisposable {
  readonly hub: ApiServer;
  readonly spoke: ApiServer;
  readonly hubClient: ApiClient;
  readonly spokeClient: ApiClient;
  /** Stops the agent, as if the spoke were cut off. */
  stopAgent(): Promise<void>;
  startAgent(): Promise<void>;
}

/** Starts a hub, a spoke and the agent. The resources of both are installed on both. */
export async function startFleet(): Promise<Fleet> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await createTemporaryDirectory());
  const hub = stack.use(await startApiServer());
  const spoke = stack.use(await startApiServer());
  const [hubClient, spokeClient] = await Promise.all([hub.client(), spoke.client()]);
  await Promise.all([installHubResources(hubClient), installHubResources(spokeClient)]);
  await hubClient.create(namespaces, { metadata: { name: spokeName } });
  let agent: RunningProcess | undefined;
  stack.defer(() => agent?.stop('SIGKILL'));

  const fleet = {
    hub,
    spoke,
    hubClient,
    spokeClient,
    stopAgent: async () => agent?.stop('SIGKILL'),
    startAgent: async () => {
      agent = await startWorkAgent({
        cluster: spokeName,
        hub: hub.kubeconfig,
        spoke: spoke.kubeconfig,
        namespace: 'default',
        directory: directory.path,
      });
    },
  };
  await fleet.startAgent();
  const parts = stack.move();
  return { ...fleet, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}
