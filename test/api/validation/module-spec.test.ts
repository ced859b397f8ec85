import { describe, expect, it } from 'vitest';
import { parseModule, type Module } from '../../../src/api/module/module.ts';
import { findIgnoredFields } from '../../../src/api/module/ignored-fields.ts';
import { checkModuleSpec } from '../../../src/api/validation/module-spec.ts';
import { formatViolation, ResourceError } from '../../../src/api/schema/resource.ts';

const mapping = { regexp: '^.+$', containerImage: 'registry.example/kmod:${KERNEL_FULL_VERSION}' };
const keys = { keySecret: { name: 'key' }, certSecret: { name: 'cert' } };

/** A Module with changes to its container and its spec. */
function moduleWith(container: object = {}, spec: object = {}): Module {
  return parseModule({
    apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
    kind: 'Module',
    metadata: { name: 'driver', namespace: 'default' },
    spec: {
      selector: {},
      moduleLoader: {
        container: { modprobe: { moduleName: 'driver' }, kernelMappings: [mapping], ...container },
      },
      ...spec,
    },
  });
}

const driver = { name: 'driver', namespace: 'default' };

function errors(container: object = {}, spec: object = {}): string[] {
  const { metadata, spec: parsed } = moduleWith(container, spec);
  return checkModuleSpec(parsed, { ...metadata, namespace: 'default' }).errors.map(formatViolation);
}

function warnings(container: object = {}, spec: object = {}): string[] {
  return checkModuleSpec(moduleWith(container, spec).spec, driver).warnings.map(formatViolation);
}

const at = 'spec.moduleLoader.container';

function readWrong(): unknown {
  return moduleWith({ modprobe: { parameters: 'a=1' } }, { selector: 5 });
}

/** Returns the messages of errors about an update. */
function updateErrors(spec: Module['spec'], previous: Module['spec']): string[] {
  const { errors: found } = checkModuleSpec(spec, driver, previous);
  return found.map(({ message }) => message);
}

describe('reading a Module', () => {
  it('looks for modules in /opt unless told otherwise', () => {
    expect(moduleWith().spec.moduleLoader?.container.modprobe.dirName).toBe('/opt');
  });

  it('takes the nulls and empty values that Go clients write for fields that are not set', () => {
    const written = {
      ...mapping,
      literal: '',
      build: null,
      sign: null,
      registryTLS: null,
      inTreeModulesToRemove: null,
    };
    expect(errors({ kernelMappings: [written], registryTLS: {} }, { devicePlugin: null })).toEqual([]);
  });

  it('takes a Module without a module loader', () => {
    const spec = {
      moduleLoader: undefined,
      devicePlugin: { container: { image: 'registry.example/plugin:1' } },
    };
    expect(errors({}, spec)).toEqual([]);
  });

  it('names every field that is wrong', () => {
    expect(readWrong).toThrow(ResourceError);
    expect(readWrong).toThrow(/modprobe\.parameters: .*; spec\.selector: /);
  });

  it('lists the fields that have no effect', () => {
    const container = { image: 'registry.example/dra:1' };
    const { spec } = moduleWith(
      { build: { dockerfileConfigMap: { name: 'd' }, kanikoParams: { tag: 'debug' } } },
      // It has an effect.
      { dra: { container, driverName: 'dra.example' } },
    );
    const paths = (builder: 'kaniko' | 'buildah'): string[] =>
      findIgnoredFields(spec, builder).map(({ path }) => path);
    expect(paths('kaniko')).toEqual([]);
    expect(paths('buildah')).toEqual([`${at}.build.kanikoParams`]);
  });
});

// The wording of the first group is KMM's: people script against it.
describe('checking a Module', () => {
  it.each<[string, object, string]>([
    [
      'a mapping with a literal and an expression',
      { kernelMappings: [{ ...mapping, literal: '5.14.0' }] },
      `${at}.kernelMappings[0]: regexp and literal are mutually exclusive properties at kernelMappings[0]`,
    ],
    [
      'a mapping with neither',
      { kernelMappings: [mapping, { containerImage: 'r.example/i:1' }] },
      `${at}.kernelMappings[1]: regexp or literal must be set at kernelMappings[1]`,
    ],
    [
      'an expression with a lookahead, which RE2 does not have',
      { kernelMappings: [{ ...mapping, regexp: '^(?!5)' }] },
      `${at}.kernelMappings[0].regexp: invalid regexp at index 0: error parsing regexp: invalid or unsupported Perl syntax: \`(?!\``,
    ],
    [
      'a mapping without any image',
      { kernelMappings: [{ regexp: '.' }] },
      `${at}.kernelMappings[0].containerImage: must be set here or at the container`,
    ],
    [
      'raw arguments beside a name',
      { modprobe: { moduleName: 'a', rawArgs: { load: ['a'] } } },
      `${at}.modprobe.rawArgs: rawArgs cannot be set when moduleName is set`,
    ],
    [
      'neither a name nor all raw arguments',
      { modprobe: { rawArgs: { load: ['a'] } } },
      `${at}.modprobe.rawArgs: load and unload rawArgs must be set when moduleName is unset`,
    ],
    [
      'a relative directory of settings',
      { modprobe: { moduleName: 'a', modprobedDir: 'etc/modprobe.d' } },
      `${at}.modprobe.modprobedDir: "etc/modprobe.d" must be an absolute path, without . or .. in it`,
    ],
    [
      'a directory of settings outside the image',
      { modprobe: { moduleName: 'a', modprobedDir: '/opt/../../etc' } },
      `${at}.modprobe.modprobedDir: "/opt/../../etc" must be an absolute path, without . or .. in it`,
    ],
    [
      'a loading order of one',
      { modprobe: { moduleName: 'a', modulesLoadingOrder: ['a'] } },
      `${at}.modprobe.modulesLoadingOrder: if a loading order is defined, at least two values must be defined`,
    ],
    [
      'a loading order that begins with another module',
      { modprobe: { moduleName: 'a', modulesLoadingOrder: ['b', 'a'] } },
      `${at}.modprobe.modulesLoadingOrder: if a loading order is defined, the first element must be moduleName`,
    ],
    [
      'a loading order that names a module twice',
      { modprobe: { moduleName: 'a', modulesLoadingOrder: ['a', 'b', 'b'] } },
      `${at}.modprobe.modulesLoadingOrder: "b": duplicate value in the loading order list`,
    ],
    [
      'both spellings of in-tree modules, on different levels',
      { inTreeModuleToRemove: 'a', kernelMappings: [{ ...mapping, inTreeModulesToRemove: ['b'] }] },
      `${at}.kernelMappings[0]: inTreeModuleToRemove and inTreeModulesToRemove are mutually exclusive`,
    ],
    [
      'a build without a Dockerfile',
      { build: {} },
      `${at}.kernelMappings[0].build.dockerfileConfigMap: must be set here or at the container`,
    ],
    [
      'signing without an image to sign',
      { sign: keys },
      `${at}.kernelMappings[0].sign.unsignedImage: no image to sign: set unsignedImage, or build the image in the cluster`,
    ],
    [
      'a relative path to sign',
      { sign: { ...keys, unsignedImage: 'r.example/i:1', filesToSign: ['opt/a.ko'] } },
      `${at}.kernelMappings[0].sign.filesToSign: "opt/a.ko" does not begin with /`,
    ],
  ])('refuses %s', (_title, container, message) => {
    expect(errors(container)).toEqual([message]);
  });

  it('takes settings from both levels together', () => {
    const sign = { unsignedImage: 'r.example/i:1', keySecret: { name: 'key' } };
    const container = { sign, kernelMappings: [{ ...mapping, sign: { certSecret: { name: 'cert' } } }] };
    expect(errors(container)).toEqual([]);
  });

  it('takes filesToSign that are left out: then every module is signed', () => {
    expect(errors({ sign: { ...keys, unsignedImage: 'r.example/i:1' } })).toEqual([]);
  });

  it('does not let a version come or go', () => {
    const [without, one, two] = [moduleWith(), moduleWith({ version: '1' }), moduleWith({ version: '2' })];
    const refusal = [
      'cannot update to or from an empty version; please delete the Module and create it again',
    ];
    expect(updateErrors(one.spec, without.spec)).toEqual(refusal);
    expect(updateErrors(without.spec, one.spec)).toEqual(refusal);
    expect(updateErrors(two.spec, one.spec)).toEqual([]);
  });

  it('limits names only where administrators have to write them into labels', () => {
    const long = { name: 'n'.repeat(40), namespace: 'default' };
    expect(checkModuleSpec(moduleWith().spec, long).errors).toEqual([]);
    expect(checkModuleSpec(moduleWith({ version: '1' }).spec, long).errors).toHaveLength(1);
    const dotted = { name: 'a.version', namespace: 'default' };
    expect(checkModuleSpec(moduleWith({ version: '1' }).spec, dotted).errors).toHaveLength(1);
    const plain = { name: 'a.b', namespace: 'default' };
    expect(checkModuleSpec(moduleWith({ version: '1' }).spec, plain).errors).toEqual([]);
  });

  it.each<[string, object, string]>([
    ['without a key', { operator: 'Equal' }, 'operator must be Exists when key is empty'],
    ['with a strange operator', { key: 'a', operator: 'In' }, 'operator must be Equal or Exists, not "In"'],
    [
      'with a value that Exists ignores',
      { key: 'a', operator: 'Exists', value: 'b' },
      'value must be empty when operator is Exists',
    ],
    ['with a value that is no label', { key: 'a', value: 'b c' }, '"b c" is not the value of a taint'],
    [
      'with a strange effect',
      { key: 'a', effect: 'Never' },
      'effect must be NoSchedule, PreferNoSchedule or NoExecute, not "Never"',
    ],
    [
      'with seconds for another effect',
      { key: 'a', effect: 'NoSchedule', tolerationSeconds: 5 },
      'effect must be NoExecute when tolerationSeconds is set',
    ],
    ['with a key that is none', { key: 'a/b/c' }, '"a/b/c" is not the key of a taint'],
  ])('refuses a toleration %s', (_title, toleration, message) => {
    expect(errors({}, { tolerations: [toleration] })).toEqual([`spec.tolerations[0]: ${message}`]);
  });

  it.each([
    ['/dev/driver', true],
    ['/var/run/../lib/driver', true],
    ['/var/../etc', false],
    ['/devices', false],
    ['/', false],
  ])('host path %s for a device plugin: %s', (path, isAllowed) => {
    const devicePlugin = {
      container: { image: 'registry.example/plugin:1' },
      volumes: [{ name: 'v', hostPath: { path } }],
    };
    expect(errors({}, { devicePlugin })).toHaveLength(isAllowed ? 0 : 1);
  });

  it('warns of an image without a tag, of one image for all kernels, of files that modprobe will not find', () => {
    expect(warnings({ kernelMappings: [{ regexp: '.', containerImage: 'localhost:5000/kmod' }] })).toEqual([
      `${at}.kernelMappings[0].containerImage: localhost:5000/kmod has neither tag nor digest, so latest is used`,
    ]);
    expect(
      warnings({
        build: { dockerfileConfigMap: { name: 'd' } },
        kernelMappings: [{ regexp: '.', containerImage: 'r.example/kmod:1' }],
      }),
    ).toEqual([
      `${at}.kernelMappings[0].containerImage: r.example/kmod:1 is the same for every kernel that matches; put \${KERNEL_FULL_VERSION} into it`,
    ]);
    expect(
      warnings({ sign: { ...keys, unsignedImage: 'r.example/i:1', filesToSign: ['/lib/modules/a.ko'] } }),
    ).toEqual([
      `${at}.kernelMappings[0].sign.filesToSign: /lib/modules/a.ko is outside dirName /opt, where modprobe looks for modules`,
    ]);
  });
});
