import { describe, expect, it } from 'vitest';
import type { AdmissionRequest, Verdict } from '../../../src/controller/webhook/admission-review.ts';
import {
  managedClusterModuleValidator,
  moduleValidator,
  preflightOcpValidator,
  preflightValidator,
  type Validator,
} from '../../../src/controller/webhook/validators.ts';

const allowed: Verdict = { reasons: [], warnings: [] };
const versionRule = /cannot update to or from an empty version/;
const image = 'registry.example.org/driver:${KERNEL_FULL_VERSION}';

/** A moduleSpec that today's rules accept, with changes to its container. */
function specWith(container: object = {}): object {
  const kernelMappings = [{ regexp: '^.+$', containerImage: image }];
  return {
    moduleLoader: { container: { modprobe: { moduleName: 'example' }, kernelMappings, ...container } },
    selector: {},
  };
}

const asModule = (spec: object, metadata: object = {}): object => ({
  apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
  kind: 'Module',
  metadata: { namespace: 'default', name: 'example', ...metadata },
  spec,
});

const asManagedClusterModule = (moduleSpec: object, metadata: object = {}): object => ({
  apiVersion: 'hub.kmm.sigs.x-k8s.io/v1beta1',
  kind: 'ManagedClusterModule',
  metadata: { name: 'example', ...metadata },
  spec: { moduleSpec, selector: {}, spokeNamespace: 'drivers' },
});

const valid = specWith();
const versioned = specWith({ version: '1' });
const withoutMappings = specWith({ kernelMappings: [] });
const otherWithoutMappings = specWith({ kernelMappings: [], version: '2' });

const deleting = { deletionTimestamp: '2026-01-01T00:00:00Z' };

function ask(
  validator: Validator,
  operation: AdmissionRequest['operation'],
  objects: { readonly object?: unknown; readonly oldObject?: unknown },
): Verdict {
  return validator({ uid: '1', operation, ...objects }) as Verdict;
}

describe.each([
  ['Module', moduleValidator('kaniko'), asModule],
  ['ManagedClusterModule', managedClusterModuleValidator, asManagedClusterModule],
] as const)('the verdict on a %s', (_kind, validator, objectWith) => {
  const refused = expect.arrayContaining([expect.stringContaining('kernelMappings')]) as string[];

  it('lets a valid one pass', () => {
    expect(ask(validator, 'CREATE', { object: objectWith(valid) })).toEqual(allowed);
  });

  it('refuses one that breaks a rule, when it is created and when it is changed', () => {
    const object = objectWith(withoutMappings);
    expect(ask(validator, 'CREATE', { object }).reasons).toEqual(refused);
    expect(ask(validator, 'UPDATE', { object, oldObject: objectWith(valid) }).reasons).toEqual(refused);
  });

  it('refuses what is not such an object', () => {
    expect(ask(validator, 'CREATE', { object: { spec: 1 } }).reasons).toHaveLength(1);
    expect(ask(validator, 'CREATE', {}).reasons).toHaveLength(1);
  });

  it('does not look at what is deleted or connected to', () => {
    const object = objectWith(withoutMappings);
    expect(ask(validator, 'DELETE', { object, oldObject: object })).toEqual(allowed);
    expect(ask(validator, 'CONNECT', { object })).toEqual(allowed);
  });

  it('lets metadata of one change that was accepted under other rules', () => {
    const oldObject = objectWith(withoutMappings);
    const object = objectWith(withoutMappings, { labels: { seen: 'yes' } });
    expect(ask(validator, 'UPDATE', { object, oldObject })).toEqual(allowed);
  });

  it('lets one that is being deleted change, even its spec, so that its finalizers can go', () => {
    const [object, oldObject] = [objectWith(otherWithoutMappings, deleting), objectWith(withoutMappings)];
    expect(ask(validator, 'UPDATE', { object, oldObject })).toEqual(allowed);
    const staying = objectWith(otherWithoutMappings, { deletionTimestamp: null });
    expect(ask(validator, 'UPDATE', { object: staying, oldObject }).reasons).toEqual(refused);
  });

  it.each([
    ['gets a version', valid, versioned],
    ['loses its version', versioned, valid],
  ])('refuses an update where it %s', (_title, before, after) => {
    const { reasons } = ask(validator, 'UPDATE', {
      object: objectWith(after),
      oldObject: objectWith(before),
    });
    expect(reasons).toEqual([expect.stringMatching(versionRule)]);
  });

  it('lets a version change to another', () => {
    const [object, oldObject] = [objectWith(specWith({ version: '2' })), objectWith(versioned)];
    expect(ask(validator, 'UPDATE', { object, oldObject })).toEqual(allowed);
  });

  it('holds no earlier object against one that is created', () => {
    const [object, oldObject] = [objectWith(versioned), objectWith(valid)];
    expect(ask(validator, 'CREATE', { object, oldObject })).toEqual(allowed);
  });

  it('lets a broken one be mended, whatever it was', () => {
    const object = objectWith(versioned);
    for (const oldObject of [{ spec: 1 }, null, undefined]) {
      expect(ask(validator, 'UPDATE', { object, oldObject })).toEqual(allowed);
    }
  });
});

describe.each([
  ['PreflightValidation', preflightValidator],
  ['PreflightValidationOCP', preflightOcpValidator],
] as const)('the verdict on a %s', (kind, validator) => {
  const objectWith = (kernelVersion: string): object => ({
    apiVersion: 'kmm.sigs.x-k8s.io/v1beta2',
    kind,
    metadata: { name: 'upgrade' },
    spec: { kernelVersion, ...(kind === 'PreflightValidationOCP' ? { dtkImage: image } : {}) },
  });

  it('depends on whether the kernel can be one', () => {
    expect(ask(validator, 'CREATE', { object: objectWith('6.1.0-9-amd64') })).toEqual(allowed);
    expect(ask(validator, 'CREATE', { object: objectWith('6.1') }).reasons).toHaveLength(1);
  });
});

it('a Module is warned of fields that the operator does not act on', () => {
  const build = { dockerfileConfigMap: { name: 'build' }, kanikoParams: { tag: 'v1' } };
  const object = asModule(specWith({ build }));
  const verdict = ask(moduleValidator('buildah'), 'CREATE', { object });
  expect(verdict.reasons).toEqual([]);
  expect(verdict.warnings).toEqual([expect.stringContaining('kanikoParams')]);
});

it.each([
  ['buildah', 'kaniko', 0],
  ['kaniko', 'buildah', 1],
] as const)(
  'a Module is warned by its own builder: %s is configured, %s annotated',
  (builder, own, count) => {
    const build = { dockerfileConfigMap: { name: 'build' }, kanikoParams: { tag: 'v1' } };
    const object = asModule(specWith({ build }));
    const annotations = { 'kmm.sigs.x-k8s.io/builder': own };
    const annotated = { ...object, metadata: { name: 'driver', namespace: 'default', annotations } };
    const verdict = ask(moduleValidator(builder), 'CREATE', { object: annotated });
    expect(verdict.warnings).toHaveLength(count);
  },
);
