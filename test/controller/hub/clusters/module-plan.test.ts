import { describe, expect, it } from 'vitest';
import type { ManagedClusterModule } from '../../../../src/api/managed-cluster-module.ts';
import { planModule, type ModulePlan } from '../../../../src/controller/hub/clusters/module-plan.ts';
import { createModuleView } from '../../../../src/controller/hub/clusters/module-view.ts';
import {
  projectManagedCluster,
  type CachedManagedCluster,
} from '../../../../src/controller/hub/fleet/managed-clusters.ts';
import {
  projectManifestWork,
  type CachedManifestWork,
} from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { HubError } from '../../../../src/controller/hub/fleet/errors.ts';
import { maxManifestBytes } from '../../../../src/controller/hub/work/manifest-work.ts';
import type { ImageState } from '../../../../src/controller/image-pipeline/request.ts';
import { digest, resource } from '../example-module.ts';

const image = 'registry.example/driver:${KERNEL_FULL_VERSION}';
const module = resource({ kernelMappings: [{ regexp: '^6\\.', containerImage: image }] });

/** A cluster with kernels; without a claim if none are given. */
function cluster(name: string, ...kernels: readonly string[]): CachedManagedCluster {
  const claim = { name: 'kernel-versions.kmm.node.kubernetes.io', value: kernels.join('\n') };
  const clusterClaims = kernels.length === 0 ? [] : [claim];
  return projectManagedCluster({ metadata: { name }, status: { clusterClaims } });
}

/** A ManifestWork that the agent of a cluster has applied. */
function workOf(name: string): CachedManifestWork {
  const conditions = [{ type: 'Applied', status: 'True', observedGeneration: 1 }];
  const metadata = { namespace: name, name: 'driver', uid: `work-${name}`, generation: 1 };
  return projectManifestWork({ metadata, spec: {}, status: { conditions } });
}

const ready: ImageState = { phase: 'Ready', reason: 'Signed', message: 'signed', digest: digest('a') };
const building: ImageState = { phase: 'Building', reason: 'JobActive', message: 'a Job runs' };
const failed: ImageState = { phase: 'Failed', reason: 'JobFailed', message: 'it failed' };

interface Given {
  readonly clusters: readonly CachedManagedCluster[];
  readonly owned?: readonly CachedManifestWork[];
  readonly of?: ManagedClusterModule;
  /** By kernel; Ready if absent. */
  readonly states?: Readonly<Record<string, ImageState | HubError | undefined>>;
}

function plan({ clusters, owned = [], of = module, states = {} }: Given): ModulePlan {
  return planModule({
    view: createModuleView(of, '2026-01-01T00:00:00Z'),
    clusters,
    owned,
    outcomeOf: ({ kernel: { release } }) => {
      const state = release in states ? states[release] : ready;
      return state === undefined || state instanceof HubError ? state : { state, jobs: [], error: undefined };
    },
  });
}

/** What is done for each cluster: the namespace of the ManifestWork that is applied, or phase and reason. */
function summary({ actions }: ModulePlan): unknown[] {
  return actions.map((action) =>
    action.type === 'apply'
      ? `apply in ${action.desired.object.metadata.namespace}`
      : [action.result.status.name, action.result.status.phase, action.result.status.reason],
  );
}

describe('the plan for a ManagedClusterModule', () => {
  it('has nothing to do without clusters', () => {
    expect(plan({ clusters: [] })).toEqual({ deletes: [], actions: [] });
  });

  it('gives each cluster its Module when the images of its kernels are ready', () => {
    const clusters = [cluster('a', '6.1.0'), cluster('b', '6.1.0', '6.2.0')];
    expect(summary(plan({ clusters }))).toEqual(['apply in a', 'apply in b']);
  });

  it('gives the same ManifestWork to clusters with the same kernels', () => {
    const { actions } = plan({
      clusters: [cluster('a', '6.1.0'), cluster('b', '6.1.0'), cluster('c', '6.2.0')],
    });
    const hashes = actions.map((action) => action.type === 'apply' && action.desired.specHash);
    expect(hashes[0]).toBe(hashes[1]);
    expect(hashes[0]).not.toBe(hashes[2]);
  });

  it.each([
    ['has not published its kernels', cluster('a'), {}, ['a', 'Pending', 'NoKernels']],
    ['has kernels that no mapping matches', cluster('a', '5.4.0'), {}, ['a', 'Pending', 'NoKernelMatches']],
    [
      'needs an image that is being built',
      cluster('a', '6.1.0'),
      { '6.1.0': building },
      ['a', 'Building', 'JobActive'],
    ],
    ['needs an image that failed', cluster('a', '6.1.0'), { '6.1.0': failed }, ['a', 'Failed', 'JobFailed']],
    [
      'needs an image not checked since the start',
      cluster('a', '6.1.0'),
      { '6.1.0': undefined },
      ['a', 'Building', 'Checking'],
    ],
  ])('waits for a cluster that %s, and for no other', (_title, waiting, states, expected) => {
    expect(summary(plan({ clusters: [waiting, cluster('b', '6.9.0')], states }))).toEqual([
      expected,
      'apply in b',
    ]);
  });

  it('names the image that failed while another one is still being built', () => {
    const clusters = [cluster('a', '6.1.0', '6.2.0')];
    const states = { '6.1.0': building, '6.2.0': failed };
    expect(plan({ clusters, states }).actions).toMatchObject([
      { result: { status: { phase: 'Failed', kernels: 2, message: 'Kernel 6.2.0: it failed' } } },
    ]);
  });

  it('reports why an image is refused', () => {
    const refused = new HubError({ code: 'TOO_MANY_IMAGES', message: 'too many' });
    expect(summary(plan({ clusters: [cluster('a', '6.1.0')], states: { '6.1.0': refused } }))).toEqual([
      ['a', 'Failed', 'TooManyImages'],
    ]);
  });

  it('keeps the ManifestWork of a waiting cluster, and reports it as outdated', () => {
    const owned = [workOf('a')];
    const { deletes, actions } = plan({
      clusters: [cluster('a', '6.1.0')],
      owned,
      states: { '6.1.0': building },
    });
    expect(deletes).toEqual([]);
    expect(actions).toMatchObject([
      { type: 'report', result: { status: { applied: false, manifestWork: 'driver' } } },
    ]);
  });

  it('deletes only the ManifestWorks of clusters that are no longer selected', () => {
    const owned = [workOf('a'), workOf('gone')];
    const { deletes } = plan({ clusters: [cluster('a', '6.1.0')], owned });
    expect(deletes).toEqual([owned[1]]);
  });

  it('compares with the ManifestWork that the cluster has', () => {
    const owned = [workOf('b'), workOf('a')];
    expect(plan({ clusters: [cluster('a', '6.1.0')], owned }).actions).toMatchObject([{ before: owned[1] }]);
  });

  it('fails without retry if the Module is too large for a ManifestWork', () => {
    const literal = { literal: 'x'.repeat(maxManifestBytes), containerImage: 'registry.example/driver:1' };
    const of = resource({ kernelMappings: [{ regexp: '^6\\.', containerImage: image }, literal] });
    const { actions } = plan({ clusters: [cluster('a', '6.1.0')], of });
    expect(actions).toMatchObject([
      { result: { status: { phase: 'Failed', reason: 'ManifestWorkTooLarge' } } },
    ]);
    expect(actions).not.toMatchObject([{ result: { error: expect.anything() as unknown } }]);
  });

  it('gives a Module without a moduleLoader to every cluster', () => {
    const { moduleLoader: _none, ...moduleSpec } = module.spec.moduleSpec;
    const of = { ...module, spec: { ...module.spec, moduleSpec } };
    expect(summary(plan({ clusters: [cluster('a'), cluster('b', '5.4.0')], of }))).toEqual([
      'apply in a',
      'apply in b',
    ]);
  });

  it('makes again only what other images need, and keeps what the plan before has not used no longer', () => {
    const view = createModuleView(module, '2026-01-01T00:00:00Z');
    const specs = (digests: Readonly<Record<string, string>>): Map<string, unknown> => {
      const { actions } = planModule({
        view,
        clusters: ['6.1.0', '6.2.0'].map((kernel) => cluster(`with-${kernel}`, kernel)),
        owned: [],
        outcomeOf: ({ kernel: { release } }) => ({
          state: release in digests ? { ...ready, digest: digest(digests[release] ?? '') } : building,
          jobs: [],
          error: undefined,
        }),
      });
      return new Map(
        actions.flatMap((action) =>
          action.type === 'apply' ? [[action.cluster.name, action.desired.object.spec]] : [],
        ),
      );
    };
    const first = specs({ '6.1.0': 'a' }).get('with-6.1.0');
    const both = specs({ '6.1.0': 'a', '6.2.0': 'b' });
    expect(both.get('with-6.1.0')).toBe(first);
    const second = both.get('with-6.2.0');
    const changed = specs({ '6.1.0': 'c', '6.2.0': 'b' });
    expect(changed.get('with-6.2.0')).toBe(second);
    specs({ '6.2.0': 'b' });
    const back = specs({ '6.1.0': 'a', '6.2.0': 'b' }).get('with-6.1.0');
    expect(back).toEqual(first);
    expect(back).not.toBe(first);
  });
});
