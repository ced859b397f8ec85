import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseManagedClusterModule } from '../../../../src/api/managed-cluster-module.ts';
import { modules } from '../../../../src/controller/observe/cluster/resources.ts';
import {
  createManifestWorkFactory,
  maxManifestBytes,
} from '../../../../src/controller/hub/work/manifest-work.ts';
import { managedClusterModules } from '../../../../src/controller/hub/fleet/managed-cluster-modules.ts';
import { manifestWorks } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { managedClusterModuleStatusOf } from '../../../../src/controller/hub/clusters/module-status.ts';
import { createTargetResolver } from '../../../../src/controller/hub/images/desired-images.ts';
import { trimmedModule, type KernelImage } from '../../../../src/controller/hub/work/trimmed-module.ts';
import { projectManifestWork } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { workStatus } from '../../../../src/controller/hub/clusters/cluster-status.ts';
import { listAll } from '../../../../src/controller/runtime/api/list.ts';
import { fleetPrograms, spokeName, startFleet, type Fleet } from '../../../support/hub/fleet.ts';
import { namespaces } from '../../../support/namespaces.ts';
import { describeWith } from '../../../support/programs.ts';
import { digest, resource } from '../example-module.ts';

const wanted = resource({
  build: { dockerfileConfigMap: { name: 'dockerfile' } },
  kernelMappings: [{ regexp: '^6\\.', containerImage: 'registry.example/driver:${KERNEL_FULL_VERSION}' }],
});

function imagesOf(of: typeof wanted, character: string): KernelImage[] {
  const found = createTargetResolver(of)('6.1.0');
  if (found.type !== 'target') throw new Error('no mapping matches');
  return [{ target: found.target, digest: digest(character) }];
}

/** The Module's spec as JSON has it. */
function specOnSpoke(of: typeof wanted, character: string): unknown {
  return JSON.parse(JSON.stringify(trimmedModule(of, imagesOf(of, character)).spec));
}

function mappings(count: number): object[] {
  return Array.from({ length: count }, () => ({
    regexp: `^${randomBytes(30).toString('hex')}$`,
    containerImage: `registry.example/${randomBytes(30).toString('hex')}:1`,
  }));
}

const eventually = { timeout: 60_000, interval: 200 };

describeWith(fleetPrograms, 'a ManifestWork with a Module', () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await startFleet();
    await fleet.spokeClient.create(namespaces, { metadata: { name: 'drivers' } });
  }, 240_000);
  afterAll(async () => fleet?.[Symbol.asyncDispose]());

  const key = { namespace: 'drivers', name: 'driver' };
  const workKey = { namespace: spokeName, name: 'driver' };
  const currentStatus = async () =>
    workStatus(projectManifestWork(await fleet.hubClient.get(manifestWorks, workKey)));

  it('creates the Module in the cluster, reports its status, updates it, and deletes it', async () => {
    const { hubClient, spokeClient } = fleet;
    const created = parseManagedClusterModule(
      await hubClient.create(managedClusterModules, { ...wanted, metadata: { name: 'driver' } }),
    );
    const makeWork = createManifestWorkFactory(created);
    const work = makeWork(spokeName, imagesOf(created, 'a'));
    const answer = await hubClient.apply(manifestWorks, work.object);
    // Nothing was defaulted or dropped, so a cache can detect whether it is up to date.
    expect(answer.spec).toEqual(work.object.spec);
    expect(projectManifestWork(answer)).toMatchObject({
      key: workKey,
      ownerUid: created.metadata.uid,
      specHash: work.specHash,
    });
    expect(answer.metadata.labels).toEqual({ 'kmm.node.kubernetes.io/managedclustermodule.name': 'driver' });

    await vi.waitFor(async () => {
      const { spec } = await spokeClient.get(modules, key);
      expect(spec).toEqual(specOnSpoke(created, 'a'));
    }, eventually);
    await vi.waitFor(async () => {
      expect(await currentStatus()).toMatchObject({ phase: 'Applied', reason: 'NoFeedback', applied: true });
    }, eventually);

    const { metadata } = await spokeClient.get(modules, key);
    const condition = { lastTransitionTime: '2026-01-02T03:04:05Z', observedGeneration: metadata.generation };
    const status = {
      observedGeneration: metadata.generation,
      moduleLoader: { nodesMatchingSelectorNumber: 3, desiredNumber: 3, availableNumber: 2 },
      conditions: [
        { ...condition, type: 'Progressing', status: 'True', reason: 'Loading', message: 'loading' },
        { ...condition, type: 'Ready', status: 'False', reason: 'NodesNotReady', message: '2 of 3 nodes' },
        { ...condition, type: 'Degraded', status: 'False', reason: 'NoProblem', message: 'all is well' },
      ],
    };
    await spokeClient.patch(modules, key, { status }, { subresource: 'status' });
    await vi.waitFor(async () => {
      expect(await currentStatus()).toEqual({
        phase: 'Applied',
        reason: 'NodesNotReady',
        message: '2 of 3 nodes',
        manifestWork: 'driver',
        applied: true,
        degraded: false,
        availableNumber: 2,
        desiredNumber: 3,
      });
    }, eventually);

    // The Module is changed in the cluster; the hub's next update overrides that.
    const changed = { 'node-role.kubernetes.io/worker': 'changed' };
    await spokeClient.patch(modules, key, { spec: { selector: changed } });
    await hubClient.apply(manifestWorks, makeWork(spokeName, imagesOf(created, 'b')).object);
    await vi.waitFor(async () => {
      const { spec } = await spokeClient.get(modules, key);
      expect(spec).toEqual(specOnSpoke(created, 'b'));
      // Its status is still about the previous generation.
      expect(await currentStatus()).toMatchObject({ phase: 'Applied', reason: 'WaitingForOperator' });
    }, eventually);

    // With another namespace, the Module is deleted from the old one.
    await spokeClient.create(namespaces, { metadata: { name: 'elsewhere' } });
    const moved = { ...created, spec: { ...created.spec, spokeNamespace: 'elsewhere' } };
    const there = createManifestWorkFactory(moved)(spokeName, imagesOf(moved, 'b'));
    await hubClient.apply(manifestWorks, there.object);
    await vi.waitFor(async () => {
      const found = await listAll(spokeClient, modules, {});
      expect(found.map((module) => module.metadata.namespace)).toEqual(['elsewhere']);
    }, eventually);

    await hubClient.delete(manifestWorks, workKey);
    await vi.waitFor(async () => {
      expect(await listAll(spokeClient, modules, {})).toEqual([]);
    }, eventually);
  });

  it('reports why the agent cannot apply it', async () => {
    const { metadata, spec } = wanted;
    const lost = {
      ...wanted,
      metadata: { ...metadata, name: 'lost' },
      spec: { ...spec, spokeNamespace: 'missing' },
    };
    const { object } = createManifestWorkFactory(lost)(spokeName, imagesOf(lost, 'c'));
    await fleet.hubClient.apply(manifestWorks, object);
    await vi.waitFor(async () => {
      const work = await fleet.hubClient.get(manifestWorks, { namespace: spokeName, name: 'lost' });
      const { phase, message } = workStatus(projectManifestWork(work));
      expect(phase).toBe('Failed');
      expect(message).toContain('namespaces "missing" not found');
    }, eventually);
  });

  it('leads to a status that the API server accepts', async () => {
    const { hubClient } = fleet;
    const created = await hubClient.create(managedClusterModules, {
      ...wanted,
      metadata: { name: 'status' },
    });
    const status = managedClusterModuleStatusOf(
      parseManagedClusterModule(created),
      Array.from({ length: 300 }, (_, index) => ({
        name: `cluster-${index}`,
        phase: 'Failed',
        message: 'm'.repeat(10_000),
        applied: false,
      })),
      [],
      new Date().toISOString(),
    );
    const { metadata } = created;
    const answer = await hubClient.apply(
      managedClusterModules,
      { metadata: { name: metadata.name }, status },
      { subresource: 'status' },
    );
    expect(parseManagedClusterModule(answer).status).toEqual(status);
  });
});

describe('the ManifestWorks of a fleet', () => {
  it('differ only in their namespace if clusters have the same images', () => {
    const makeWork = createManifestWorkFactory(wanted);
    const [one, two] = ['cluster-1', 'cluster-2'].map((cluster) => makeWork(cluster, imagesOf(wanted, 'a')));
    const other = makeWork('cluster-3', imagesOf(wanted, 'b'));
    expect(one?.object).toEqual({
      ...two?.object,
      metadata: { ...two?.object.metadata, namespace: 'cluster-1' },
    });
    expect(one?.specHash).toBe(two?.specHash);
    // Computed once: hashing takes longer than all the rest.
    expect(one?.object.spec).toBe(two?.object.spec);
    expect(other.specHash).not.toBe(one?.specHash);
    expect(JSON.stringify(other.object.spec)).toContain(digest('b'));
  });
});

/** The counters that agents are asked for. */
function countersOf(of: typeof wanted): unknown[] {
  const { object } = createManifestWorkFactory(of)('cluster-1', []);
  const { manifestConfigs } = object.spec as {
    manifestConfigs: { feedbackRules: { jsonPaths: { name: string }[] }[] }[];
  };
  expect(manifestConfigs).toMatchObject([
    {
      resourceIdentifier: { group: 'kmm.sigs.x-k8s.io', resource: 'modules', namespace: 'drivers' },
      feedbackRules: [{ type: 'JSONPaths' }],
    },
  ]);
  const paths = manifestConfigs.flatMap((config) => config.feedbackRules.flatMap((rule) => rule.jsonPaths));
  return paths.filter(({ name }) => name.endsWith('Number'));
}
function countersOfParts(...parts: string[]): unknown[] {
  return parts.flatMap((part) =>
    ['availableNumber', 'desiredNumber', 'nodesMatchingSelectorNumber'].map((number) => ({
      name: `${part}.${number}`,
      path: `.status.${part}.${number}`,
    })),
  );
}

describe('the feedback rules of a ManifestWork', () => {
  it('request the same counters as KMM, under the same names', () => {
    const container = { image: 'registry.example/plugin:1' };
    const complete = resource(
      { kernelMappings: mappings(1) },
      { devicePlugin: { container }, dra: { container, driverName: 'driver.example' } },
    );
    expect(countersOf(complete)).toEqual(countersOfParts('moduleLoader', 'devicePlugin', 'dra'));
  });

  it('request none of parts that the Module does not have', () => {
    expect(countersOf(wanted)).toEqual(countersOfParts('moduleLoader'));
  });
});

describe('a ManifestWork that would be too large', () => {
  it('is refused with its size, the limit and the cluster', () => {
    const large = createManifestWorkFactory(resource({ kernelMappings: mappings(4000) }));
    for (const cluster of ['cluster-1', 'cluster-2']) {
      expect(() => large(cluster, [])).toThrow(
        expect.objectContaining({
          code: 'MANIFEST_WORK_TOO_LARGE',
          message: expect.stringMatching(
            new RegExp(`^The Module of driver for the cluster ${cluster} has \\d{6} bytes`),
          ) as string,
          facts: expect.objectContaining({ limit: 512_000 }) as object,
        }) as Error,
      );
    }
    const small = createManifestWorkFactory(resource({ kernelMappings: mappings(2500) }));
    const { workload } = small('cluster-1', []).object.spec as { workload: object };
    expect(Buffer.byteLength(JSON.stringify(workload))).toBeLessThan(maxManifestBytes);
  });

  it('is measured as the API server encodes it', () => {
    // Go's encoding/json writes each of these with six bytes.
    const regexp = '<>&'.repeat(40_000);
    const of = resource({ kernelMappings: [{ regexp, containerImage: 'a/b:c' }] });
    expect(Buffer.byteLength(JSON.stringify(trimmedModule(of, [])))).toBeLessThan(maxManifestBytes);
    expect(() => createManifestWorkFactory(of)('cluster-1', [])).toThrow(/has 72\d{4} bytes/);
  });
});
