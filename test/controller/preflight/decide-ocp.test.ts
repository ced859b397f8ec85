import { describe, expect, it } from 'vitest';
import type { PreflightStatus } from '../../../src/api/preflight-validation.ts';
import type {
  CachedPreflight,
  CachedPreflightOcp,
} from '../../../src/controller/observe/cluster/preflights.ts';
import { decideOcp } from '../../../src/controller/preflight/decide-ocp.ts';

const metadata = { name: 'a', uid: 'uid-a', resourceVersion: '1', generation: 3 };
const apiVersion = 'kmm.sigs.x-k8s.io/v1beta2';
const toolkitKey = 'kmm.sigs.x-k8s.io/driver-toolkit-image';
const markKey = 'kmm.sigs.x-k8s.io/made-for';
const release = { kernel: '5.14.0-284.el9', driverToolkit: 'dtk:1' };

function ocp(spec: object, more: { status?: PreflightStatus; generation?: number } = {}): CachedPreflightOcp {
  const { status, generation = 3 } = more;
  return {
    key: { name: 'a' },
    metadata: { ...metadata, generation },
    object: {
      apiVersion,
      kind: 'PreflightValidationOCP',
      metadata: { name: 'a', generation },
      spec,
      ...(status && { status }),
    },
    problem: undefined,
  };
}

const byRelease = ocp({ releaseImage: 'release:1' });
const byKernel = ocp({ kernelVersion: '6.1.0-9', dtkImage: 'dtk:2', pushBuiltImage: true });

/** Returns the validation that an action creates or updates, as stored by the API server. */
function made(
  action: ReturnType<typeof decideOcp>,
  more: { status?: PreflightStatus; kernel?: string; owner?: string } = {},
): CachedPreflight {
  if (action.type !== 'create' && action.type !== 'update') throw new Error(`made nothing: ${action.type}`);
  const { requested, mark } = action;
  const { status, kernel = requested.kernel, owner = 'uid-a' } = more;
  const annotations = {
    [markKey]: mark,
    ...(requested.driverToolkit === undefined ? {} : { [toolkitKey]: requested.driverToolkit }),
  };
  const ownerReferences = [{ apiVersion: 'v1', kind: 'PreflightValidationOCP', name: 'a', uid: owner }];
  const spec = { kernelVersion: kernel, pushBuiltImage: requested.push };
  return {
    key: { name: 'a' },
    metadata: { name: 'a', uid: 'v', resourceVersion: '1', generation: 1, annotations, ownerReferences },
    object: {
      apiVersion,
      kind: 'PreflightValidation',
      metadata: { name: 'a', generation: 1 },
      spec,
      ...(status && { status }),
    },
    problem: undefined,
  };
}

const reading = { findings: [{ reason: 'ReadingRelease', message: 'release:1 is being read' }] };
const verifying = (kernel: string) => ({
  findings: [
    {
      type: 'Ready',
      status: 'False',
      reason: 'Verifying',
      message: `Modules are being verified for kernel ${kernel}`,
    },
  ],
});

describe('a PreflightValidationOCP', () => {
  it('that is gone or going is forgotten', () => {
    const going = { ...byKernel, metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
    expect(decideOcp(undefined, undefined)).toEqual({ type: 'forget' });
    expect(decideOcp(going, undefined)).toEqual({ type: 'forget' });
  });

  it('that cannot be read says why', () => {
    const invalid = { ...byKernel, object: undefined, problem: 'spec: missing' };
    const ready = { status: 'False', reason: 'InvalidPreflightValidationOCP', message: 'spec: missing' };
    expect(decideOcp(invalid, undefined)).toMatchObject({
      type: 'report',
      report: { findings: [ready, {}, {}] },
    });
  });

  it('leaves a PreflightValidation of its name alone that is not its own', () => {
    const other = made(decideOcp(byKernel, undefined), { owner: 'somebody-else' });
    expect(decideOcp(byKernel, other)).toMatchObject({
      type: 'report',
      report: { findings: [{ status: 'False', reason: 'NameTaken' }, {}, {}] },
    });
  });

  it('that names a kernel has it verified without reading any release', () => {
    expect(decideOcp(byKernel, undefined)).toMatchObject({
      type: 'create',
      requested: { kernel: '6.1.0-9', driverToolkit: 'dtk:2', push: true },
      report: verifying('6.1.0-9'),
    });
  });

  it('that names a release has it read, and says so once for each generation', () => {
    const query = { releaseImage: 'release:1', useRTKernel: false };
    expect(decideOcp(byRelease, undefined)).toMatchObject({
      type: 'read-release',
      release: query,
      report: reading,
    });
    const told = ocp(byRelease.object?.spec ?? {}, { status: { observedGeneration: 3 } });
    expect(decideOcp(told, undefined)).toEqual({ type: 'read-release', release: query, report: undefined });
  });

  it('that names a real-time kernel asks the release for that', () => {
    expect(decideOcp(ocp({ releaseImage: 'release:1', useRTKernel: true }), undefined)).toMatchObject({
      release: { useRTKernel: true },
    });
  });

  it('whose release was read has its kernel verified', () => {
    expect(decideOcp(byRelease, undefined, release)).toMatchObject({
      type: 'create',
      requested: { ...release, push: false },
      report: verifying(release.kernel),
    });
  });

  it('does not read a release again whose kernel its validation knows', () => {
    const validation = made(decideOcp(byRelease, undefined, release));
    expect(decideOcp(byRelease, validation)).toMatchObject({
      type: 'report',
      report: verifying(release.kernel),
    });
  });

  it('reads the release again after a change, and when somebody changed the validation', () => {
    const first = decideOcp(byRelease, undefined, release);
    const changed = ocp({ releaseImage: 'release:2' }, { generation: 4 });
    expect(decideOcp(changed, made(first)).type).toBe('read-release');
    expect(decideOcp(byRelease, made(first, { kernel: '6.6.6' })).type).toBe('read-release');
  });

  it('sets right a validation that asks for something else', () => {
    const first = decideOcp(byKernel, undefined);
    expect(decideOcp(byKernel, made(first, { kernel: '6.6.6' }))).toMatchObject({
      type: 'update',
      requested: { kernel: '6.1.0-9' },
    });
    const keepsNothing = ocp({ kernelVersion: '6.1.0-9', dtkImage: 'dtk:2' });
    expect(decideOcp(keepsNothing, made(first))).toMatchObject({
      type: 'update',
      requested: { push: false },
    });
    const otherToolkit = ocp({ kernelVersion: '6.1.0-9', pushBuiltImage: true });
    expect(decideOcp(otherToolkit, made(first))).toMatchObject({
      type: 'update',
      requested: { driverToolkit: undefined },
    });
  });

  const condition = {
    type: 'Ready',
    status: 'True' as const,
    reason: 'Verified',
    message: 'All 0 Modules would be ready',
    lastTransitionTime: '2026-01-01T00:00:00Z',
  };

  it('reports what its validation found out', () => {
    const status = { observedGeneration: 1, conditions: [condition], modules: [], crStatuses: {} };
    const validation = made(decideOcp(byKernel, undefined), { status });
    const { lastTransitionTime: _time, ...finding } = condition;
    expect(decideOcp(byKernel, validation)).toEqual({
      type: 'report',
      report: { findings: [finding], results: { modules: [], crStatuses: {} } },
    });
  });

  it('reports nothing that its validation found out about an earlier question', () => {
    const status = { observedGeneration: 0, conditions: [condition] };
    const validation = made(decideOcp(byKernel, undefined), { status });
    expect(decideOcp(byKernel, validation)).toMatchObject({ type: 'report', report: verifying('6.1.0-9') });
  });
});
