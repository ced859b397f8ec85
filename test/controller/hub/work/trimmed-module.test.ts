import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ManagedClusterModule } from '../../../../src/api/managed-cluster-module.ts';
import { parseModule, type Module } from '../../../../src/api/module/module.ts';
import { checkModuleSpec } from '../../../../src/api/validation/module-spec.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';
import { createTargetResolver } from '../../../../src/controller/hub/images/desired-images.ts';
import { trimmedModule, type KernelImage } from '../../../../src/controller/hub/work/trimmed-module.ts';
import { resolveTarget } from '../../../../src/controller/module/kernel-mapping/resolve-target.ts';
import { digest, resource } from '../example-module.ts';

const build = { dockerfileConfigMap: { name: 'dockerfile' } };
const sign = { keySecret: { name: 'key' }, certSecret: { name: 'cert' } };

/** The hub's images for kernels: every one is built, with a digest derived from the kernel. */
function images(of: ManagedClusterModule, releases: readonly string[]): KernelImage[] {
  const find = createTargetResolver(of);
  return releases.flatMap((release, index) => {
    const found = find(release);
    return found.type === 'target' ? [{ target: found.target, digest: digest(index.toString(16)) }] : [];
  });
}

/** The Module as the spoke reads it. */
function onSpoke(of: ManagedClusterModule, releases: readonly string[]): Module {
  return parseModule(JSON.parse(JSON.stringify(trimmedModule(of, images(of, releases)))));
}

function imageFor({ metadata, spec }: Module, release: string): string | undefined {
  const module = { namespace: metadata.namespace ?? '', name: metadata.name };
  return resolveTarget({ module, spec, kernel: parseKernel(release) })?.image;
}

const documented = resource({
  containerImage: 'registry.example:5000/${MOD_NAMESPACE}/${MOD_NAME}:${KERNEL_FULL_VERSION}',
  build,
  sign,
  kernelMappings: [
    { literal: '6.1.0-9', containerImage: 'registry.example/special:v1', inTreeModulesToRemove: ['old'] },
    { regexp: '^6\\.1\\.', build, sign, registryTLS: { insecure: true } },
    { regexp: '^5\\.' },
  ],
});

describe('the Module for a cluster', () => {
  it('has all of a driver for dynamic resource allocation', () => {
    const dra = {
      driverName: 'gpu.example',
      container: { image: 'registry.example/dra:1', env: [{ name: 'A', value: 'b' }] },
      initContainer: { image: 'registry.example/init:1' },
      serviceAccountName: 'dra',
      volumes: [{ name: 'own', hostPath: { path: '/opt/own' } }],
      automountServiceAccountToken: true,
      deviceClasses: [
        {
          name: 'gpu.example',
          selectors: [{ cel: { expression: "device.driver == 'gpu.example'" } }],
          config: [{ opaque: { driver: 'gpu.example', parameters: { mode: 'fast' } } }],
        },
      ],
    };
    const container = { kernelMappings: [{ regexp: '^6' }], containerImage: 'registry.example/a:1' };
    expect(onSpoke(resource(container, { dra }), []).spec.dra).toEqual(dra);
  });

  it('has a literal mapping by digest for each kernel, then the others, and neither build nor sign', () => {
    const module = trimmedModule(documented, images(documented, ['6.1.0-10', '6.1.0-9', '4.18.0']));
    // KMM's definition requires an image in every mapping; the cluster expands it.
    const containerImage = 'registry.example:5000/${MOD_NAMESPACE}/${MOD_NAME}:${KERNEL_FULL_VERSION}';
    expect(JSON.parse(JSON.stringify(module))).toEqual({
      apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
      kind: 'Module',
      metadata: { namespace: 'drivers', name: 'driver' },
      spec: {
        selector: { 'node-role.kubernetes.io/worker': '' },
        moduleLoader: {
          container: {
            modprobe: { moduleName: 'driver', dirName: '/opt' },
            kernelMappings: [
              {
                literal: '6.1.0-10',
                containerImage: `registry.example:5000/drivers/driver@${digest('0')}`,
                registryTLS: { insecure: true },
              },
              {
                literal: '6.1.0-9',
                containerImage: `registry.example/special@${digest('1')}`,
                inTreeModulesToRemove: ['old'],
              },
              { regexp: '^6\\.1\\.', registryTLS: { insecure: true }, containerImage },
              { regexp: '^5\\.', containerImage },
            ],
          },
        },
      },
    });
  });

  it('passes the validation of the spoke', () => {
    const { metadata, spec } = onSpoke(documented, ['6.1.0-10', '6.1.0-9']);
    const findings = checkModuleSpec(spec, metadata);
    expect(findings.errors).toEqual([]);
  });

  it('has no tag if all mappings are literals', () => {
    const literals = resource({
      containerImage: 'registry.example/driver:${KERNEL_VERSION}',
      kernelMappings: [{ literal: '1.1' }, { literal: '1.2' }],
    });
    expect(JSON.stringify(onSpoke(literals, ['1.1', '1.2']))).not.toContain('driver:');
  });

  it('distinguishes a kernel with a plus from the one without', () => {
    const both = resource({
      kernelMappings: [
        { literal: '6.1.0+', containerImage: 'registry.example/plus:1' },
        { literal: '6.1.0', containerImage: 'registry.example/plain:1' },
      ],
    });
    for (const releases of [
      ['6.1.0', '6.1.0+'],
      ['6.1.0+', '6.1.0'],
    ]) {
      const module = onSpoke(both, releases);
      expect(imageFor(module, '6.1.0')).toMatch(/^registry\.example\/plain@/);
      expect(imageFor(module, '6.1.0+')).toMatch(/^registry\.example\/plus@/);
    }
  });

  it('keeps the rest of the spec, except for what only applies to builds', () => {
    const devicePlugin = { container: { image: 'registry.example/plugin:1' } };
    const more = {
      devicePlugin,
      imageRepoSecret: { name: 'pull' },
      tolerations: [{ operator: 'Exists' }],
      imageRebuildTriggerGeneration: 4,
    };
    const module = onSpoke(resource({ kernelMappings: [{ regexp: '.', containerImage: 'a/b:c' }] }, more), [
      '6.1',
    ]);
    const { imageRebuildTriggerGeneration: _trigger, ...kept } = more;
    expect(module.spec).toMatchObject(kept);
    expect(module.spec).not.toHaveProperty('imageRebuildTriggerGeneration');
  });

  it('may have a device plugin only', () => {
    const plugin = { container: { image: 'registry.example/plugin:1' } };
    const only = resource(
      { kernelMappings: [{ regexp: '.' }] },
      { moduleLoader: undefined, devicePlugin: plugin },
    );
    expect(createTargetResolver(only)('6.1').type).toBe('unmatched');
    expect(onSpoke(only, ['6.1']).spec).toEqual({ ...only.spec.moduleSpec, devicePlugin: plugin });
  });

  const releases = ['6.1.0', '6.1.0+', '6.1.1', '5.14.0', '5.14.0+', '4.18.0-1.el8'];
  const mapping = fc.record({
    kind: fc.constantFrom('literal', 'regexp'),
    literal: fc.constantFrom(...releases),
    regexp: fc.constantFrom('^6', '\\+$', '6.1.0', '.', '^5', '\\.el8$'),
    containerImage: fc.option(fc.constantFrom('a/one:${KERNEL_VERSION}', 'b:5000/two:x', 'c/three')),
  });

  it('maps every kernel of the cluster to the hub’s image and other kernels as before, without changing its input', () => {
    fc.assert(
      fc.property(
        fc.array(mapping, { minLength: 1, maxLength: 6 }),
        fc.subarray(releases),
        (mappings, present) => {
          const of = resource({
            containerImage: 'default/image:${KERNEL_FULL_VERSION}',
            build,
            sign,
            kernelMappings: mappings.map(({ kind, containerImage, ...expressions }) => ({
              [kind]: kind === 'literal' ? expressions.literal : expressions.regexp,
              ...(containerImage === null ? {} : { containerImage }),
              build,
              sign,
            })),
          });
          const before = structuredClone(of);
          const built = images(of, present);
          const module = onSpoke(of, present);
          expect(of).toEqual(before);
          expect(JSON.stringify(module)).not.toMatch(/"(build|sign)"/);
          for (const { target, digest: expected } of built) {
            const image = imageFor(module, target.kernel.release) ?? '';
            expect(image.endsWith(`@${expected}`), `${target.kernel.release}: ${image}`).toBe(true);
          }
          const find = createTargetResolver(of);
          const versions = new Set(present.map((release) => parseKernel(release).version));
          for (const other of releases.filter((release) => !versions.has(parseKernel(release).version))) {
            const found = find(other);
            expect(imageFor(module, other)).toBe(found.type === 'target' ? found.target.image : undefined);
          }
        },
      ),
    );
  });
});

describe('the image of a ManagedClusterModule for a kernel', () => {
  it('is resolved with the namespace of the Module in the clusters', () => {
    const found = createTargetResolver(documented)('6.1.0-10');
    expect(found).toMatchObject({
      type: 'target',
      target: {
        module: { namespace: 'drivers', name: 'driver' },
        build: { image: 'registry.example:5000/drivers/driver:6.1.0-10-kmm_unsigned' },
      },
    });
  });

  it('may be absent, or an error about that kernel only', () => {
    const find = createTargetResolver(
      resource({
        kernelMappings: [
          { literal: '6.1.0', containerImage: 'a/b:c' },
          { literal: '6.2.0', containerImage: 'a/b:${' },
        ],
      }),
    );
    expect(find('6.1.0').type).toBe('target');
    expect(find('6.2.0')).toMatchObject({ type: 'invalid', error: { code: 'INVALID_TEMPLATE' } });
    expect(find('6.3.0').type).toBe('unmatched');
    expect(find('6.1.0')).toBe(find('6.1.0'));
  });
});
