import { describe, expect, it } from 'vitest';
import { selects } from '../../../../src/controller/observe/cluster/resources.ts';
import { projectManagedCluster } from '../../../../src/controller/hub/fleet/managed-clusters.ts';

const metadata = { name: 'cluster-1', labels: { driver: 'wanted', region: 'north' } };

describe('a ManagedCluster', () => {
  it('is reduced to labels, kernels and availability', () => {
    const status = {
      clusterClaims: [{ name: 'kernel-versions.kmm.node.kubernetes.io', value: '6.1.0-9\n5.14.0+' }],
      conditions: [{ type: 'ManagedClusterConditionAvailable', status: 'Unknown' }],
    };
    expect(projectManagedCluster({ metadata, status })).toEqual({
      name: 'cluster-1',
      labels: metadata.labels,
      kernels: { published: true, releases: ['5.14.0+', '6.1.0-9'], ignored: 0 },
      available: false,
      deleting: false,
    });
  });

  it.each([undefined, null, 'status', { conditions: 'none', clusterClaims: {} }, { conditions: [{}] }])(
    'may have any status: %j',
    (status) => {
      expect(projectManagedCluster({ metadata, status })).toMatchObject({
        kernels: { published: false, releases: [] },
        available: true,
      });
    },
  );

  it('is selected by all labels of a selector, and by an empty one', () => {
    expect(selects({ driver: 'wanted' }, metadata.labels)).toBe(true);
    expect(selects({ driver: 'wanted', region: 'south' }, metadata.labels)).toBe(false);
    expect(selects({ zone: '' }, metadata.labels)).toBe(false);
    expect(selects({ constructor: 'wanted' }, {})).toBe(false);
    expect(selects({}, {})).toBe(true);
  });
});
