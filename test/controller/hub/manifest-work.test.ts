import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseManagedClusterModule } from '../../../src/api/managed-cluster-module.ts';
import { modules } from '../../../src/controller/cluster/resources.ts';
import { maxManifestBytes, manifestWork } from '../../../src/controller/hub/manifest-work.ts';
import { managedClusterModules, manifestWorks } from '../../../src/controller/hub/resources.ts';
import { managedClusterModuleStatusOf } from '../../../src/controller/hub/status.ts';
import { createTargetResolver } from '../../../src/controller/hub/targets.ts';
import { trimmedModule, type TrimmedModule } from '../../../src/controller/hub/trimmed-module.ts';
import { projectManifestWork, specHashOf } from '../../../src/controller/hub/work-facts.ts';
import { workStatus } from '../../../src/controller/hub/work-status.ts';
import { fleetPrograms, spokeName, startFleet, type Fleet } from '../../support/hub/fleet.ts';
import { namespaces } from '../../support/hub/namespaces.ts';
import { describeWith } from '../../support/programs.ts';
import { digest, resource } from './resources.ts';

const wanted = resource({
  build: { dockerfileConfigMap: { name: 'dockerfile' } },
  kernelMappings: [{ regexp: '^6\\.', containerImage: 'registry.example/driver:${KERNEL_FULL_VERSION}' }],
});

function moduleFor(of: typeof wanted, character: string): TrimmedModule {
  const found = createTargetResolver(of)('6.1.0');
  if (found.type !== 'target') throw new Error('no mapping matches');
  return trimmedModule(of, [{ target: found.target, digest: digest(character) }]);
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

  it('brings the Module to the cluster, tells how it fares, follows changes, and takes it away', async () => {
    const { hubClient, spokeClient } = fleet;
    const created = parseManagedClusterModule(
      await hubClient.create(managedClusterModules, { ...wanted, metadata: { name: 'driver' } }),
    );
    const work = manifestWork({ resource: created, cluster: spokeName, module: moduleFor(created, 'a') });
    const answer = await hubClient.apply(manifestWorks, work);
    // Nothing was filled in or dropped, so a cache can tell whether it is as it should be.
    expect(answer.spec).toEqual(work.spec);
    expect(projectManifestWork(answer)).toMatchObject({
      key: workKey,
      ownerUid: created.metadata.uid,
      specHash: specHashOf(work),
    });
    expect(answer.metadata.labels).toEqual({ 'kmm.node.kubernetes.io/managedclustermodule.name': 'driver' });

    await vi.waitFor(async () => {
      const { spec } = await spokeClient.get(modules, key);
      expect(spec).toEqual(JSON.parse(JSON.stringify(moduleFor(created, 'a').spec)));
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

    // Somebody changes the Module in the cluster; the hub's next word counts.
    const changed = { 'node-role.kubernetes.io/worker': 'changed' };
    await spokeClient.patch(modules, key, { spec: { selector: changed } });
    const next = manifestWork({ resource: created, cluster: spokeName, module: moduleFor(created, 'b') });
    await hubClient.apply(manifestWorks, next);
    await vi.waitFor(async () => {
      const { spec } = await spokeClient.get(modules, key);
      expect(spec).toEqual(JSON.parse(JSON.stringify(moduleFor(created, 'b').spec)));
      // Its status is still about the Module before.
      expect(await currentStatus()).toMatchObject({ phase: 'Applied', reason: 'WaitingForOperator' });
    }, eventually);

    await hubClient.delete(manifestWorks, workKey);
    await vi.waitFor(async () => {
      const error: unknown = await spokeClient.get(modules, key).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'NOT_FOUND' });
    }, eventually);
  });

  it('says why the agent cannot apply it', async () => {
    const nowhere = resource({ kernelMappings: [{ regexp: '^6', containerImage: 'a/b:c' }] });
    const module = moduleFor({ ...nowhere, spec: { ...nowhere.spec, spokeNamespace: 'missing' } }, 'c');
    const lost = { ...nowhere, metadata: { ...nowhere.metadata, name: 'lost' } };
    await fleet.hubClient.apply(manifestWorks, manifestWork({ resource: lost, cluster: spokeName, module }));
    await vi.waitFor(async () => {
      const work = await fleet.hubClient.get(manifestWorks, { namespace: spokeName, name: 'lost' });
      const { phase, message } = workStatus(projectManifestWork(work));
      expect(phase).toBe('Failed');
      expect(message).toContain('namespaces "missing" not found');
    }, eventually);
  });

  it('has a status that the API server takes', async () => {
    const { hubClient } = fleet;
    const created = await hubClient.create(managedClusterModules, {
      ...wanted,
      metadata: { name: 'status' },
    });
    const status = managedClusterModuleStatusOf({
      resource: parseManagedClusterModule(created),
      clusters: Array.from({ length: 300 }, (_, index) => ({
        name: `cluster-${index}`,
        phase: 'Failed',
        message: 'm'.repeat(10_000),
        applied: false,
      })),
      now: new Date(),
    });
    const { metadata } = created;
    const answer = await hubClient.apply(
      managedClusterModules,
      { metadata: { name: metadata.name }, status },
      { subresource: 'status' },
    );
    expect(parseManagedClusterModule(answer).status).toEqual(status);
  });
});

describe('a ManifestWork that would be too large', () => {
  it('is refused with its size, the limit and the cluster', () => {
    const large = resource({ kernelMappings: mappings(4000) });
    const make = (of: typeof large) => () =>
      manifestWork({ resource: of, cluster: 'cluster-1', module: trimmedModule(of, []) });
    expect(make(large)).toThrow(
      expect.objectContaining({
        code: 'MANIFEST_WORK_TOO_LARGE',
        message: expect.stringMatching(
          /^The Module of driver for the cluster cluster-1 has \d{6} bytes/,
        ) as string,
        facts: expect.objectContaining({ limit: 512_000 }) as object,
      }) as Error,
    );
    const { workload } = make(resource({ kernelMappings: mappings(2500) }))().spec as { workload: object };
    expect(Buffer.byteLength(JSON.stringify(workload))).toBeLessThan(maxManifestBytes);
  });

  it('is measured as the API server writes it', () => {
    // Go's encoding/json writes each of these with six bytes.
    const regexp = '<>&'.repeat(40_000);
    const of = resource({ kernelMappings: [{ regexp, containerImage: 'a/b:c' }] });
    const module = trimmedModule(of, []);
    expect(Buffer.byteLength(JSON.stringify(module))).toBeLessThan(maxManifestBytes);
    expect(() => manifestWork({ resource: of, cluster: 'cluster-1', module })).toThrow(/has 72\d{4} bytes/);
  });
});
