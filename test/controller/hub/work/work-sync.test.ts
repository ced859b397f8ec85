import { describe, expect, it } from 'vitest';
import { projectManifestWork } from '../../../../src/controller/hub/fleet/manifest-works.ts';
import { createManifestWorkFactory } from '../../../../src/controller/hub/work/manifest-work.ts';
import { decideWork } from '../../../../src/controller/hub/work/work-sync.ts';
import { resource } from '../example-module.ts';

const module = resource({
  kernelMappings: [{ regexp: '^6\\.', containerImage: 'registry.example/driver:1' }],
});
const owned = { ...module, metadata: { ...module.metadata, uid: 'owner' } };
const desired = createManifestWorkFactory(owned)('cluster-1', []);
const { object, specHash } = desired;
const now = Date.parse('2026-01-01T00:00:00Z');

/** The ManifestWork as the cache has it once it is written. */
function cached(more: { readonly spec?: object; readonly owner?: string } = {}) {
  const { spec = object.spec, owner = 'owner' } = more;
  const ownerReferences = object.metadata.ownerReferences?.map((one) => ({ ...one, uid: owner }));
  return projectManifestWork({ ...object, metadata: { ...object.metadata, ownerReferences }, spec });
}

const nothing = { cached: undefined, written: undefined, now };

describe('a ManifestWork', () => {
  it('is created if there is none', () => {
    expect(decideWork(desired, nothing)).toBe('create');
  });

  it('is kept if it is up to date', () => {
    expect(decideWork(desired, { ...nothing, cached: cached() })).toBe('keep');
  });

  it('is updated if its spec is another', () => {
    const other = cached({ spec: { workload: { manifests: [] } } });
    expect(decideWork(desired, { ...nothing, cached: other })).toBe('update');
  });

  it('is adopted if it belongs to a ManagedClusterModule of that name that is gone', () => {
    expect(decideWork(desired, { ...nothing, cached: cached({ owner: 'earlier' }) })).toBe('adopt');
  });

  it('is awaited in the cache for a while after it was written', () => {
    const written = { specHash, generation: 2, until: now + 1 };
    const known = { cached: cached({ spec: {} }), written, now };
    expect(decideWork(desired, known)).toBe('wait');
    expect(decideWork(desired, { ...known, now: now + 1 })).toBe('update');
    expect(decideWork(desired, { ...known, written: { ...written, specHash: 'earlier' } })).toBe('update');
  });
});
