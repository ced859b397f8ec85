import { describe, expect, it } from 'vitest';
import { parseModule, type Module } from '../../../../src/api/module/module.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';
import type { ModuleTarget } from '../../../../src/builder/target.ts';
import { findIdleMappings } from '../../../../src/controller/module/kernel-mapping/find-mapping.ts';
import { resolveTarget } from '../../../../src/controller/module/kernel-mapping/resolve-target.ts';

const dockerfileConfigMap = { name: 'dockerfile' };
const keys = { keySecret: { name: 'key' }, certSecret: { name: 'cert' } };
const name = { namespace: 'default', name: 'example-module' };

function read(container: object): Module {
  return parseModule({
    apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
    kind: 'Module',
    metadata: name,
    spec: { selector: {}, moduleLoader: { container: { modprobe: { moduleName: 'm' }, ...container } } },
  });
}

function target(container: object, release = '5.14.0-70.el9.x86_64'): ModuleTarget | undefined {
  return resolveTarget({ module: name, spec: read(container).spec, kernel: parseKernel(release) });
}

describe('finding the mapping of a kernel', () => {
  const images = [
    { literal: '5.14.0', containerImage: 'r.example/literal:1' },
    { regexp: 'el9', containerImage: 'r.example/el9:${KERNEL_XYZ}' },
    { regexp: '^5\\.', containerImage: 'r.example/five:${MOD_NAMESPACE}-${MOD_NAME}' },
    { literal: '5.14.0-70.el9.x86_64', containerImage: 'r.example/late:1' },
  ];

  it.each([
    ['5.14.0', 'r.example/literal:1'],
    ['5.14.0+', 'r.example/literal:1'],
    ['5.14.0-70.el9.x86_64', 'r.example/el9:5.14.0'],
    ['5.10.0', 'r.example/five:default-example-module'],
    ['6.1.0', undefined],
  ])('takes the first that matches %s: %s', (release, image) => {
    expect(target({ kernelMappings: images }, release)?.image).toBe(image);
  });

  it('says which mappings have no effect here', () => {
    const mappings = read({
      kernelMappings: [{ regexp: '^.+\\fc37\\.x86_64$', containerImage: 'a:1' }, ...images],
    }).spec.moduleLoader?.container.kernelMappings;
    const idle = findIdleMappings(mappings ?? [], [parseKernel('5.14.0-70.el9.x86_64')]);
    expect(idle.map(({ index, reason }) => [index, reason])).toEqual([
      [0, 'MatchesNoKernel'],
      [1, 'MatchesNoKernel'],
      [3, 'Shadowed'],
      [4, 'Shadowed'],
    ]);
    expect(findIdleMappings(mappings ?? [], [])).toEqual([]);
  });

  it('fails for the kernels that reach an expression that cannot be compiled, not for others', () => {
    const kernelMappings = [images[1], { regexp: '(', containerImage: 'a:1' }];
    expect(target({ kernelMappings })?.mapping).toBe(0);
    expect(() => target({ kernelMappings }, '6.1.0')).toThrow(/kernelMappings\[1\]\.regexp "\(" is not/);
  });
});

describe('merging container and mapping', () => {
  const containerImage = 'example.org/repository/minimal-driver:final';

  it('builds to the intermediate image that the documents name, and signs from it', () => {
    const found = target({
      kernelMappings: [{ regexp: '.', containerImage, build: { dockerfileConfigMap }, sign: keys }],
    });
    const intermediate = 'example.org/repository/minimal-driver:final-default_example-module_kmm_unsigned';
    expect(found?.build?.image).toBe(intermediate);
    expect(found?.sign?.unsignedImage).toBe(intermediate);
    expect(found?.image).toBe(containerImage);
  });

  it('builds to the final image when nothing is signed', () => {
    const found = target({
      kernelMappings: [{ regexp: '.', containerImage, build: { dockerfileConfigMap } }],
    });
    expect(found?.build?.image).toBe(containerImage);
    expect(found?.sign).toBeUndefined();
  });

  it('expands variables in the image to sign and in paths', () => {
    const sign = {
      ...keys,
      unsignedImage: 'vendor.example/driver:${KERNEL_FULL_VERSION}',
      filesToSign: ['/opt/lib/modules/${KERNEL_FULL_VERSION}/a.ko'],
    };
    expect(target({ kernelMappings: [{ regexp: '.', containerImage, sign }] }, '6.1.0+')?.sign).toMatchObject(
      {
        unsignedImage: 'vendor.example/driver:6.1.0',
        files: ['/opt/lib/modules/6.1.0/a.ko'],
      },
    );
  });

  it('merges every field of build', () => {
    const found = target({
      build: {
        dockerfileConfigMap: { name: 'general' },
        buildArgs: [
          { name: 'A', value: '1' },
          { name: 'B', value: '1' },
        ],
        secrets: [{ name: 'one' }],
        baseImageRegistryTLS: { insecure: true },
        selector: { zone: 'a' },
        kanikoParams: { tag: 'v1' },
        podTemplate: { labels: { a: '1' }, priorityClassName: 'low' },
      },
      kernelMappings: [
        {
          regexp: '.',
          containerImage,
          build: {
            dockerfileConfigMap: { name: 'special' },
            buildArgs: [
              { name: 'C', value: '2' },
              { name: 'A', value: '2' },
            ],
            secrets: [{ name: 'one' }, { name: 'two' }],
            baseImageRegistryTLS: { insecureSkipTLSVerify: true },
            selector: { zone: 'b' },
            kanikoParams: { tag: 'v2' },
            podTemplate: { labels: { b: '2' }, priorityClassName: 'high' },
          },
        },
      ],
    });
    expect(found?.build).toEqual({
      image: containerImage,
      dockerfileConfigMap: 'special',
      buildArgs: [
        { name: 'B', value: '1' },
        { name: 'C', value: '2' },
        { name: 'A', value: '2' },
      ],
      secrets: ['one', 'two'],
      baseImageRegistryTls: { insecureSkipTLSVerify: true },
      selector: { zone: 'b' },
      kanikoTag: 'v2',
      podTemplate: {
        labels: { a: '1', b: '2' },
        annotations: {},
        nodeSelector: {},
        tolerations: [],
        priorityClassName: 'high',
      },
    });
  });

  it('takes the registry settings of a mapping as a whole', () => {
    const container = { registryTLS: { insecure: true, insecureSkipTLSVerify: true } };
    const of = (registryTLS: object | undefined) =>
      target({ ...container, kernelMappings: [{ regexp: '.', containerImage, registryTLS }] })?.registryTls;
    expect(of({ insecure: true })).toEqual({ insecure: true });
    expect(of({})).toEqual({});
    expect(of(undefined)).toEqual(container.registryTLS);
  });

  it('takes the settings of a base image from the container where Go writes an empty object for none', () => {
    const build = { dockerfileConfigMap: { name: 'd' }, baseImageRegistryTLS: { insecure: true } };
    const found = target({
      build,
      kernelMappings: [{ regexp: '.', containerImage, build: { baseImageRegistryTLS: {} } }],
    });
    expect(found?.build?.baseImageRegistryTls).toEqual({ insecure: true });
  });

  it('merges every field of sign, and the registry settings', () => {
    const found = target({
      registryTLS: { insecure: true },
      sign: {
        unsignedImage: 'a.example/i:1',
        unsignedImageRegistryTLS: { insecure: true },
        ...keys,
        filesToSign: ['/opt/a.ko'],
      },
      kernelMappings: [
        {
          regexp: '.',
          containerImage,
          registryTLS: { insecureSkipTLSVerify: true, insecure: false },
          sign: {
            unsignedImage: 'b.example/i:1',
            unsignedImageRegistryTLS: { insecureSkipTLSVerify: true },
            keySecret: { name: 'other-key' },
            filesToSign: ['/opt/b.ko', '/opt/a.ko'],
          },
        },
      ],
    });
    expect(found?.registryTls).toEqual({ insecure: false, insecureSkipTLSVerify: true });
    expect(found?.sign).toEqual({
      unsignedImage: 'b.example/i:1',
      unsignedImageRegistryTls: { insecureSkipTLSVerify: true },
      keySecret: 'other-key',
      certSecret: 'cert',
      files: ['/opt/a.ko', '/opt/b.ko'],
      podTemplate: undefined,
    });
  });

  it('counts references without a name as not set', () => {
    const found = target({
      build: { dockerfileConfigMap },
      sign: keys,
      kernelMappings: [
        {
          regexp: '.',
          containerImage,
          build: { dockerfileConfigMap: { name: '' } },
          sign: { keySecret: { name: '' }, certSecret: { name: '' } },
        },
      ],
    });
    expect(found?.build?.dockerfileConfigMap).toBe('dockerfile');
    expect(found?.sign).toMatchObject({ keySecret: 'key', certSecret: 'cert' });
  });

  it.each([
    [{ inTreeModuleToRemove: 'a' }, {}, ['a']],
    [{ inTreeModulesToRemove: ['a', 'b'] }, {}, ['a', 'b']],
    [{ inTreeModulesToRemove: ['a'] }, { inTreeModulesToRemove: [] }, []],
    [{ inTreeModuleToRemove: 'a' }, { inTreeModuleToRemove: 'b' }, ['b']],
    [{}, {}, []],
  ])('of in-tree modules %j and %j unloads %j', (container, mapping, expected) => {
    const found = target({ ...container, kernelMappings: [{ regexp: '.', containerImage, ...mapping }] });
    expect(found?.inTreeModulesToRemove).toEqual(expected);
  });
});
