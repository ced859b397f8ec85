import type { KubernetesObject } from '../api/object-key.ts';
import type { Resource } from '../api/resource.ts';

/** The part of a coordination.k8s.io/v1 Lease that is used. */
export interface Lease extends KubernetesObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

export const leases: Resource<Lease> = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
};

/** Formats a time as metav1.MicroTime, with six digits. */
export function microTime(date: Date = new Date()): string {
  return date.toISOString().replace('Z', '000Z');
}

/** Returns the lease as acquired or renewed by a candidate. */
export function acquired(lease: Lease, identity: string, leaseDurationSeconds: number): Lease {
  const now = microTime();
  const { spec = {} } = lease;
  const isRenewal = spec.holderIdentity === identity;
  return {
    ...lease,
    spec: {
      holderIdentity: identity,
      leaseDurationSeconds,
      acquireTime: isRenewal ? (spec.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (spec.leaseTransitions ?? 0) + (isRenewal ? 0 : 1),
    },
  };
}

/** Returns the lease as released by its holder: free at once. */
export function released(lease: Lease): Lease {
  const now = microTime();
  return {
    ...lease,
    spec: {
      holderIdentity: '',
      leaseDurationSeconds: 1,
      acquireTime: now,
      renewTime: now,
      leaseTransitions: lease.spec?.leaseTransitions ?? 0,
    },
  };
}
