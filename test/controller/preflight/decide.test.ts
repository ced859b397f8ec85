import { describe, expect, it } from 'vitest';
import type { PreflightStatus } from '../../../src/api/preflight-validation.ts';
import type { CachedPreflight } from '../../../src/controller/observe/cluster/preflights.ts';
import { decideValidation } from '../../../src/controller/preflight/decide.ts';

interface Given {
  readonly kernel?: string;
  readonly push?: boolean;
  readonly created?: string;
  readonly deleting?: boolean;
  readonly status?: PreflightStatus;
  readonly toolkit?: string;
}

function validation(name: string, given: Given = {}): CachedPreflight {
  const { kernel = '6.1.0-9', push, created = '2026-01-01T00:00:00Z', deleting, status, toolkit } = given;
  const metadata = {
    name,
    uid: name,
    resourceVersion: '1',
    generation: 2,
    creationTimestamp: created,
    ...(deleting === true ? { deletionTimestamp: created } : {}),
    ...(toolkit === undefined ? {} : { annotations: { 'kmm.sigs.x-k8s.io/driver-toolkit-image': toolkit } }),
  };
  const object = {
    apiVersion: 'kmm.sigs.x-k8s.io/v1beta2' as const,
    kind: 'PreflightValidation' as const,
    metadata: { name, generation: 2 },
    spec: { kernelVersion: kernel, ...(push === undefined ? {} : { pushBuiltImage: push }) },
    ...(status === undefined ? {} : { status }),
  };
  return { key: { name }, metadata, object, problem: undefined };
}

const invalid: CachedPreflight = { ...validation('a'), object: undefined, problem: 'spec: missing' };

/** Decides for the first, given all. */
const decide = (first: CachedPreflight, ...others: CachedPreflight[]) =>
  decideValidation(first, [first, ...others]);

describe('a PreflightValidation', () => {
  it('that is gone or going is forgotten', () => {
    expect(decideValidation(undefined, [])).toEqual({ type: 'forget' });
    expect(decide(validation('a', { deleting: true }))).toEqual({ type: 'forget' });
  });

  it('that cannot be read says why, and no Module is looked at', () => {
    expect(decide(invalid)).toMatchObject({
      type: 'report',
      report: {
        modules: [],
        findings: [
          { type: 'Ready', status: 'False', reason: 'InvalidPreflightValidation', message: 'spec: missing' },
          { type: 'Progressing', status: 'False' },
          { type: 'Degraded', status: 'True' },
        ],
      },
    });
  });

  it.each(['../../etc', '6.1 9', '-6.1.0', 'x'.repeat(65)])('for a kernel named %j is refused', (kernel) => {
    expect(decide(validation('a', { kernel }))).toMatchObject({
      type: 'report',
      report: { modules: [], findings: [{ status: 'False', reason: 'InvalidKernelVersion' }, {}, {}] },
    });
  });

  it('repeats only the beginning of a very long kernel version', () => {
    const action = decide(validation('a', { kernel: 'x'.repeat(100_000) }));
    expect(JSON.stringify(action).length).toBeLessThan(1500);
  });

  it('that is alone for its kernel does the work', () => {
    const [mine, other] = [validation('a', { push: true }), validation('b', { kernel: '6.1.0-10' })];
    expect(decide(mine, other)).toMatchObject({
      type: 'verify',
      validation: mine.object,
      task: { kernel: { release: '6.1.0-9' }, push: true, leader: mine },
    });
  });

  it.each([
    ['the older one', {}, { created: '2026-01-02T00:00:00Z' }],
    ['the one that keeps what is built', { created: '2026-01-02T00:00:00Z', push: true }, {}],
    ['the first by name, of equally old ones', {}, {}],
    ['the one that is not being deleted', {}, { deleting: true, push: true }],
  ])('for a kernel that another asks about too: %s does the work', (_title, leader, follower) => {
    const [a, b] = [validation('a', leader), validation('b', follower)];
    expect(decide(a, b).type).toBe('verify');
    expect(decide(b, a).type).toBe('deleting' in follower ? 'forget' : 'report');
  });

  it('that does the work uses a Driver Toolkit image that another names', () => {
    expect(decide(validation('a'), validation('b', { toolkit: 'dtk:1' }))).toMatchObject({
      type: 'verify',
      task: { driverToolkit: 'dtk:1' },
    });
  });

  const modules: PreflightStatus['modules'] = [
    {
      name: 'driver',
      namespace: 'default',
      verificationStatus: 'Success',
      verificationStage: 'Done',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    },
  ];

  it('that does not do the work copies the result of the one that does', () => {
    const leader = validation('a', { status: { observedGeneration: 2, modules } });
    expect(decide(validation('b'), leader)).toMatchObject({
      type: 'report',
      report: { modules, findings: [{ type: 'Ready', status: 'True', reason: 'Verified' }, {}, {}] },
    });
  });

  it.each([
    ['has none', undefined],
    ['has one of an earlier question', { observedGeneration: 1, modules }],
  ])('that does not do the work waits while the one that does %s', (_title, status) => {
    const leader = validation('a', status === undefined ? {} : { status });
    expect(decide(validation('b'), leader)).toEqual({
      type: 'report',
      report: {
        modules: [],
        findings: [
          {
            type: 'Ready',
            status: 'False',
            reason: 'Verifying',
            message: 'PreflightValidation a is for the same kernel; waiting for its result',
          },
        ],
      },
    });
  });
});
