import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { parseModule } from '../../../../src/api/module/module.ts';
import {
  daemonSets,
  jobs,
  modules,
  type CustomResource,
  type DaemonSet,
} from '../../../../src/controller/observe/cluster/resources.ts';
import { loadConfiguration } from '../../../../src/controller/configuration/configuration.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { managedClusters } from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { controllerFactories } from '../../../../src/controller/operator/controllers.ts';
import { hubControllers } from '../../../../src/controller/operator/hub.ts';
import { runOperator } from '../../../../src/controller/operator/run-operator.ts';
import { loadConfig } from '../../../../src/controller/runtime/api/connection.ts';
import { listAll } from '../../../../src/controller/runtime/api/list.ts';
import { isApiError } from '../../../../src/controller/runtime/api/errors.ts';
import { leases } from '../../../../src/controller/runtime/leader/lease.ts';
import { silentLogger } from '../../../../src/shared/logger.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../../src/shared/temporary.ts';
import type { ApiServer } from '../../../support/api-server.ts';
import { startControlPlane } from '../../../support/cluster/control-plane.ts';
import { fleetPrograms, spokeName, startFleet, type Fleet } from '../../../support/hub/fleet.ts';
import { namespaces } from '../../../support/namespaces.ts';
import { describeWith } from '../../../support/programs.ts';
import { createNode, imageOf } from '../../module/cluster-objects.ts';
import { hubNamespace, startHubWorld, type HubWorld } from '../hub-world.ts';
import { clusterClaims } from '../../../../src/controller/spoke/claim-publisher.ts';

const kernel = '6.1.0-13-amd64';
const name = 'driver';
const eventually = { timeout: 60_000, interval: 100 };
const claim = { name: 'kernel-versions.kmm.node.kubernetes.io' };

/** Runs the operator, as kmm-operator does, in this process. */
async function startOperator(
  { kubeconfig }: ApiServer,
  { hub }: { hub: boolean },
): Promise<() => Promise<void>> {
  const namespace = hub ? hubNamespace : 'kmm-operator-system';
  const environment = {
    OPERATOR_NAMESPACE: namespace,
    KMM_MANAGED: hub ? '' : '1',
    RELATED_IMAGE_SIGN: 'ghcr.io/kmm-sign/kmm-sign:test',
  };
  const text =
    "{ healthProbeBindAddress: '0', metrics: { bindAddress: '0' }, registry: { checkInterval: 500ms } }";
  const configuration = loadConfiguration(text, environment, hub ? 'hub' : 'cluster');
  const stop = new AbortController();
  const running = runOperator({
    configuration,
    kubeconfig: await loadConfig(kubeconfig),
    factories: hub ? [hubControllers] : controllerFactories(configuration),
    kind: hub ? 'hub' : 'cluster',
    version: 'test',
    log: silentLogger,
    signal: stop.signal,
  });
  return async () => {
    stop.abort();
    await running;
  };
}

describeWith(
  [...fleetPrograms, 'kube-controller-manager', 'kube-scheduler'],
  'a hub with a spoke, both as users run them',
  () => {
    let directory: TemporaryDirectory;
    let fleet: Fleet;
    let world: HubWorld;
    const stops: (() => Promise<void>)[] = [];
    beforeAll(async () => {
      directory = await createTemporaryDirectory();
      fleet = await startFleet();
      world = await startHubWorld(fleet.hub);
      await fleet.hubClient.create(managedClusters, {
        metadata: { name: spokeName, labels: { for: name } },
        spec: { hubAcceptsClient: true, leaseDurationSeconds: 60 },
      });
      await fleet.spokeClient.create(namespaces, { metadata: { name: 'drivers' } });
      await fleet.spokeClient.create(namespaces, { metadata: { name: 'kmm-operator-system' } });
      await createNode(fleet.spokeClient, { name: 'node-1', kernel, labels: { worker: 'true' } });
      stops.push(
        await startOperator(fleet.hub, { hub: true }),
        await startOperator(fleet.spoke, { hub: false }),
      );
    }, 240_000);
    afterAll(async () => {
      for (const stop of stops) await stop();
      await world?.[Symbol.asyncDispose]();
      await fleet?.[Symbol.asyncDispose]();
      await directory?.[Symbol.asyncDispose]();
    });

    /** Does what the registration agent does, which this fleet does not have. */
    async function passClaimsOn(): Promise<void> {
      const { spec } = await vi.waitFor(() => fleet.spokeClient.get(clusterClaims, claim), eventually);
      const { value } = spec as { value: string };
      await world.publish(spokeName, value.split('\n'));
    }

    const spokeDaemonSets = (): Promise<DaemonSet[]> =>
      listAll(fleet.spokeClient, daemonSets, { namespace: 'drivers' });

    const spokeModule = async (): Promise<CustomResource | undefined> =>
      fleet.spokeClient.get(modules, { namespace: 'drivers', name }).catch((error: unknown) => {
        if (isApiError(error, 'NOT_FOUND')) return undefined;
        throw error;
      });

    const container = {
      build: { dockerfileConfigMap: { name: 'build' } },
      sign: { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } },
    };

    it('builds and signs on the hub, and runs that digest on the spoke’s nodes', async () => {
      await passClaimsOn();
      await world.apply(name, container, { selector: { worker: 'true' } });
      await world.jobs.build((await world.activeJobs('build', 1))[0]!);
      await world.jobs.sign((await world.activeJobs('sign', 1))[0]!);
      const { status } = await world.eventually(name, (module) => {
        expect(module.status?.images).toMatchObject([{ phase: 'Ready', reason: 'Signed' }]);
      });
      const digest = status?.images?.[0]?.digest;
      const [daemonSet] = await vi.waitFor(async () => {
        const found = await spokeDaemonSets();
        expect(found).toHaveLength(1);
        return found;
      }, eventually);
      expect(imageOf(daemonSet?.spec?.template.spec)).toBe(`${world.jobs.image(name)}@${digest}`);
      const { spec } = parseModule(await spokeModule());
      expect(spec.moduleLoader?.container.build).toBeUndefined();
      expect(spec.moduleLoader?.container.sign).toBeUndefined();
      await world.eventually(name, (module) => {
        expect(module.status?.clusters).toMatchObject([
          { name: spokeName, phase: 'Applied', reason: 'Loading', applied: true, degraded: false },
        ]);
      });
    });

    /** Does what the DaemonSet controller of the spoke does when a node's pod is ready. */
    async function reportReady({ metadata }: DaemonSet): Promise<void> {
      const status = {
        observedGeneration: metadata.generation,
        currentNumberScheduled: 1,
        desiredNumberScheduled: 1,
        updatedNumberScheduled: 1,
        numberAvailable: 1,
        numberMisscheduled: 0,
        numberReady: 1,
      };
      await fleet.spokeClient.patch(daemonSets, metadata, { status }, { subresource: 'status' });
    }

    it('reports on the hub that the nodes of the spoke have the module', async () => {
      const [daemonSet] = await spokeDaemonSets();
      await reportReady(daemonSet!);
      await world.eventually(name, (module) => {
        expect(module.status).toMatchObject({ phases: { Ready: 1 }, numberApplied: 1 });
        expect(module.status?.clusters ?? []).toEqual([]);
        expect(module.status?.conditions).toContainEqual(
          expect.objectContaining({ type: 'Ready', status: 'True', reason: 'AllClustersReady' }),
        );
      });
    });

    it('updates a spoke that was disconnected when it reconnects', async () => {
      await fleet.stopAgent();
      await createNode(fleet.spokeClient, { name: 'node-2', kernel: '6.2.0', labels: { worker: 'true' } });
      await vi.waitFor(async () => {
        const { spec } = await fleet.spokeClient.get(clusterClaims, claim);
        expect(spec).toEqual({ value: [kernel, '6.2.0'].join('\n') });
      }, eventually);
      // The spoke reports that the hub has not built an image for that kernel yet.
      await vi.waitFor(async () => {
        const { status } = parseModule(await spokeModule());
        expect(status?.kernels).toMatchObject([
          { kernelVersion: kernel, phase: 'Ready' },
          { kernelVersion: '6.2.0', phase: 'Pending', reason: 'WaitingForHub' },
        ]);
        const verdicts = status?.conditions?.map(({ type, status: value }) => [type, value]);
        expect(verdicts).toEqual(
          expect.arrayContaining([
            ['Ready', 'False'],
            ['Progressing', 'True'],
            ['Degraded', 'False'],
          ]),
        );
      }, eventually);
      await passClaimsOn();
      await world.jobs.build((await world.activeJobs('build', 1))[0]!);
      await world.jobs.sign((await world.activeJobs('sign', 1))[0]!);
      await world.eventually(name, (module) => {
        expect(module.status?.clusters).toMatchObject([{ phase: 'Applying', kernels: 2, applied: false }]);
      });
      expect(await spokeDaemonSets()).toHaveLength(1);
      await fleet.startAgent();
      await vi.waitFor(async () => expect(await spokeDaemonSets()).toHaveLength(2), eventually);
    });

    it('does not build or sign on a spoke, even for Modules of its own that request it', async () => {
      const image = world.jobs.image(`own:${kernel}`);
      const digest = await world.jobs.push(image);
      const kernelMappings = [{ regexp: '^6.1', containerImage: image }];
      const tls = { insecure: true };
      await fleet.spokeClient.create(modules, {
        metadata: { namespace: 'drivers', name: 'own' },
        spec: {
          selector: { worker: 'true' },
          moduleLoader: {
            container: { modprobe: { moduleName: 'own' }, registryTLS: tls, kernelMappings, ...container },
          },
        },
      });
      await vi.waitFor(async () => {
        const { status } = parseModule(
          await fleet.spokeClient.get(modules, { namespace: 'drivers', name: 'own' }),
        );
        expect(status?.kernels).toMatchObject([{ phase: 'Ready', reason: 'ImageFound', digest }]);
      }, eventually);
      expect(await listAll(fleet.spokeClient, jobs, {})).toEqual([]);
      await fleet.spokeClient.delete(modules, { namespace: 'drivers', name: 'own' });
    });

    it('deletes the Module on the spoke when the ManagedClusterModule is deleted', async () => {
      const plane = await startControlPlane({ kubeconfig: fleet.hub.kubeconfig, directory: directory.path });
      stops.unshift(async () => plane[Symbol.asyncDispose]());
      await fleet.hubClient.delete(managedClusterModules, { name });
      await vi.waitFor(async () => {
        // The Module is held until all nodes have reported that its module is unloaded.
        for (const daemonSet of await spokeDaemonSets()) await reportReady(daemonSet);
        expect(await listAll(fleet.hubClient, manifestWorks, { namespace: spokeName })).toEqual([]);
        expect(await spokeModule()).toBeUndefined();
      }, eventually);
    });

    it('has a Lease of its own on the hub', async () => {
      const lease = await fleet.hubClient.get(leases, {
        namespace: hubNamespace,
        name: 'kmm-hub.sigs.x-k8s.io',
      });
      expect(lease.spec?.holderIdentity).toBeTruthy();
    });
  },
);
