import { describe, expect, it } from 'vitest';
import type { ClusterPhase, ManagedClusterModuleStatus } from '../../../../src/api/managed-cluster-module.ts';
import { managedClusterModuleStatusOf } from '../../../../src/controller/hub/clusters/module-status.ts';
import { StatusPace } from '../../../../src/controller/hub/clusters/status-pace.ts';
import { resource } from '../example-module.ts';

const module = resource({ kernelMappings: [{ regexp: '.', containerImage: 'a/b:c' }] });

function statusOf(...phases: ClusterPhase[]): ManagedClusterModuleStatus {
  const clusters = phases.map((phase, index) => ({ name: `cluster-${index}`, phase }));
  return managedClusterModuleStatusOf(module, clusters, [], '2026-01-02T03:04:05Z');
}

const building = statusOf('Building', 'Building', 'Applying');
const applying = statusOf('Building', 'Applying', 'Applying');

describe('the pace of a status', () => {
  it('lets the first be written at once, and progress at the interval', () => {
    const pace = new StatusPace(5000);
    expect(pace.delay('a', { before: undefined, after: building }, 100)).toBe(0);
    pace.written('a', building, 100);
    expect(pace.delay('a', { before: building, after: applying }, 1100)).toBe(4000);
    expect(pace.delay('a', { before: building, after: applying }, 5100)).toBe(0);
  });

  it('lets what others wait for be written at once', () => {
    const pace = new StatusPace(5000);
    pace.written('a', building, 100);
    const others = [
      statusOf('Ready', 'Ready', 'Ready'),
      statusOf('Failed', 'Building', 'Applying'),
      statusOf('Building', 'Applying'),
      // The first that has got so far.
      statusOf('Building', 'Building', 'Ready'),
    ];
    for (const after of others) expect(pace.delay('a', { before: building, after }, 200)).toBe(0);
    const after = { ...building, observedGeneration: (building.observedGeneration ?? 0) + 1 };
    expect(pace.delay('a', { before: building, after }, 200)).toBe(0);
  });

  it('counts a phase through which clusters pass one after another as news only once', () => {
    const pace = new StatusPace(5000);
    const [pausing, again] = [
      statusOf('Building', 'Building', 'Ready'),
      statusOf('Building', 'Applying', 'Ready'),
    ];
    pace.written('a', building, 100);
    pace.written('a', pausing, 200);
    expect(pace.delay('a', { before: pausing, after: again }, 300)).toBe(4900);
    const ready = statusOf('Ready', 'Ready', 'Ready');
    pace.written('a', ready, 10_000);
    const updating = statusOf('Building', 'Ready', 'Ready');
    pace.written('a', updating, 10_100);
    const after = statusOf('Applying', 'Ready', 'Ready');
    expect(pace.delay('a', { before: updating, after }, 10_200)).toBe(0);
  });

  it('lets a long status be written less often', () => {
    const pace = new StatusPace(5000);
    const others = Array.from({ length: 98 }, (): ClusterPhase => 'Building');
    const before = statusOf('Building', 'Applying', ...others);
    const after = statusOf('Applying', 'Applying', ...others);
    pace.written('a', before, 100);
    expect(pace.delay('a', { before, after }, 100)).toBe(10_000);
  });

  it('is separate for each ManagedClusterModule, and forgotten with it', () => {
    const pace = new StatusPace(5000);
    pace.written('a', building, 100);
    expect(pace.delay('b', { before: building, after: applying }, 200)).toBe(0);
    pace.forget('a');
    expect(pace.delay('a', { before: building, after: applying }, 200)).toBe(0);
  });
});
