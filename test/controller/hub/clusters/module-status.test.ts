import { describe, expect, it } from 'vitest';
import {
  parseManagedClusterModule,
  type ClusterPhase,
  type ClusterStatus,
  type ManagedClusterModuleStatus,
} from '../../../../src/api/managed-cluster-module.ts';
import { managedClusterModuleStatusOf } from '../../../../src/controller/hub/clusters/module-status.ts';
import { resource } from '../example-module.ts';

const module = resource({ kernelMappings: [{ regexp: '.', containerImage: 'a/b:c' }] });
const now = '2026-01-02T03:04:05Z';

function cluster(name: string, phase: ClusterPhase): ClusterStatus {
  const applied = phase === 'Ready' || phase === 'Degraded' || phase === 'Applied';
  return { name, phase, applied, degraded: phase === 'Degraded' };
}

function conditionsOf(clusters: readonly ClusterStatus[]): string[] {
  const { conditions = [] } = managedClusterModuleStatusOf(module, clusters, [], now);
  return conditions.map(({ type, status, reason, message }) => `${type}=${status} ${reason}: ${message}`);
}

function statusOfFailure(message: string): ManagedClusterModuleStatus {
  return managedClusterModuleStatusOf(
    module,
    [{ ...cluster('a', 'Failed'), message }],
    [{ image: 'a/b:c', phase: 'Failed', reason: 'BuildFailed', message }],
    now,
  );
}

describe('the status of a ManagedClusterModule', () => {
  it('counts all clusters as KMM does, and lists those that are not ready, the worst first', () => {
    const clusters = [
      cluster('a', 'Ready'),
      cluster('b', 'Applied'),
      cluster('d', 'Building'),
      cluster('c', 'Building'),
      cluster('e', 'Degraded'),
      { ...cluster('f', 'Failed'), reason: 'NoPullSecret', message: 'there is none' },
    ];
    const status = managedClusterModuleStatusOf(module, clusters, [], now);
    expect(status).toMatchObject({
      observedGeneration: 3,
      numberDesired: 6,
      numberApplied: 3,
      numberDegraded: 1,
      phases: { Failed: 1, Degraded: 1, Building: 2, Applied: 1, Ready: 1 },
    });
    expect(status.clusters?.map(({ name }) => name)).toEqual(['f', 'e', 'c', 'd', 'b']);
    expect(status.clusters?.[0]).toEqual(clusters[5]);
    expect(managedClusterModuleStatusOf(module, clusters.toReversed(), [], now)).toEqual(status);
  });

  it('summarizes the clusters in conditions', () => {
    expect(conditionsOf([])).toEqual([
      'Ready=True NoClusters: No ManagedCluster has the labels of spec.selector',
      'Progressing=False NothingToDo: No cluster is progressing',
      'Degraded=False NoProblem: No cluster has failed or is degraded',
    ]);
    expect(conditionsOf([cluster('a', 'Ready'), cluster('b', 'Ready')])).toContain(
      'Ready=True AllClustersReady: 2 of 2 clusters are ready',
    );
    expect(conditionsOf(['a', 'b', 'c', 'd', 'e'].map((name) => cluster(name, 'Failed')))).toEqual([
      'Ready=False ClustersNotReady: 0 of 5 clusters are ready',
      'Progressing=False NothingToDo: No cluster is progressing',
      'Degraded=True ClustersDegraded: Failed or degraded: a, b, c and 2 others',
    ]);
    expect(conditionsOf([cluster('a', 'Pending')])).toContain(
      'Progressing=True ClustersProgressing: Progressing: a',
    );
  });

  it('keeps the transition time of a condition that does not change', () => {
    const first = managedClusterModuleStatusOf(module, [cluster('a', 'Building')], [], now);
    const later = '2026-02-02T00:00:00Z';
    const second = managedClusterModuleStatusOf(
      { ...module, status: first },
      [cluster('a', 'Failed')],
      [],
      later,
    );
    expect(second.conditions?.map(({ type, lastTransitionTime }) => [type, lastTransitionTime])).toEqual([
      ['Ready', '2026-01-02T03:04:05Z'],
      ['Progressing', '2026-02-02T00:00:00Z'],
      ['Degraded', '2026-02-02T00:00:00Z'],
    ]);
  });

  it.each(['', ' '])('cuts out the middle of a long message (%j)', (blank) => {
    const message = `Job a failed (exit code 125): ${blank}${'😀'.repeat(300)} | Error: no such image`;
    const status = statusOfFailure(message);
    const cut = status.images?.[0]?.message ?? '';
    expect(cut).toMatch(/^Job a failed \(exit code 125\): .*….* \| Error: no such image$/u);
    expect(cut).toHaveLength(256);
    expect(cut.isWellFormed()).toBe(true);
    expect(status.clusters?.[0]?.message).toBe(cut);
    expect(statusOfFailure(cut)).toEqual(status);
  });

  it('has a limited size, however many clusters fail', () => {
    const clusters = Array.from({ length: 20_000 }, (_, index) => ({
      ...cluster(`${'c'.repeat(240)}-${index}`, 'Failed'),
      reason: 'R'.repeat(5000),
      message: 'm'.repeat(100_000),
      manifestWork: 'w'.repeat(253),
    }));
    const status = managedClusterModuleStatusOf(module, clusters, [], now);
    expect(status.numberDesired).toBe(20_000);
    expect(status.phases).toEqual({ Failed: 20_000 });
    expect(status.clusters).toHaveLength(100);
    expect(Buffer.byteLength(JSON.stringify(status))).toBeLessThan(150_000);
    const { metadata, spec } = module;
    const read = parseManagedClusterModule({
      apiVersion: 'hub.kmm.sigs.x-k8s.io/v1beta1',
      kind: 'ManagedClusterModule',
      metadata,
      spec,
      status,
    });
    expect(read.status).toEqual(status);
  });
});
