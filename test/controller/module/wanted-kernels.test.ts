import { describe, expect, it } from 'vitest';
import { waitingForHub } from '../../../src/controller/module/kernel-result.ts';
import { selectNodes } from '../../../src/controller/module/node-groups.ts';
import {
  groupByImage,
  referencesOf,
  wantedKernels,
  type WantedKernel,
} from '../../../src/controller/module/wanted-kernels.ts';
import { moduleOf, newKernel, nodeOf, oldKernel, resultOf } from './module-facts.ts';

const build = { dockerfileConfigMap: { name: 'build' } };
const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };
const oneImage = { containerImage: 'r.example/driver:all' };
const nodes = [nodeOf('a', oldKernel), nodeOf('b', newKernel), nodeOf('c', '5.10.0')];

function wantedOf(container: object, spec: object = {}, managed = false): WantedKernel[] {
  const module = moduleOf(container, spec);
  const { selector, tolerations = [] } = module.spec;
  return wantedKernels(module, selectNodes(nodes, { selector, tolerations }).groups, { managed });
}

function groupsOf(container: object): unknown[] {
  return groupByImage(wantedOf(container)).map(({ target, members }) => ({
    target: target instanceof Error ? target.code : target.image,
    kernels: members.map(({ kernel }) => kernel.release),
  }));
}

/** Kinds and names of the objects that a Module for one kernel refers to. */
function referencedBy(container: object, spec: object = {}): string[] {
  const one = { ...oneImage, kernelMappings: [{ literal: oldKernel }], ...container };
  return referencesOf('drivers', wantedOf(one, spec)).map(
    ({ kind, key }) => `${kind} ${key.namespace}/${key.name}`,
  );
}

describe('the kernels that a Module wants', () => {
  it('are those of its nodes that a mapping is for', () => {
    expect(wantedOf({}).map(({ group }) => group.kernel.release)).toEqual([oldKernel, newKernel]);
  });

  it('have an error in place of what one of them wants, where that cannot be found out', () => {
    const mappings = [{ literal: oldKernel, containerImage: 'r.example/${' }, { regexp: '^6' }];
    const [first, second] = wantedOf({ kernelMappings: mappings });
    expect(first?.target).toMatchObject({ code: 'INVALID_TEMPLATE' });
    expect(second?.target).toMatchObject({ image: `r.example/driver:${newKernel}` });
  });

  it('are neither built nor signed for where a hub does that', () => {
    const targets = wantedOf({ build, sign }, {}, true).map(({ target }) => target);
    expect(targets).toMatchObject([
      { build: undefined, sign: undefined },
      { build: undefined, sign: undefined },
    ]);
  });

  it('wait for the hub where their image does not exist, unless it is named by digest', () => {
    const missing = { phase: 'Failed', reason: 'ImageNotFound', digest: undefined } as const;
    const [wanted] = wantedOf(oneImage, {}, true);
    const [pinned] = wantedOf({ containerImage: `r.example/driver@sha256:${'0'.repeat(64)}` }, {}, true);
    if (wanted === undefined || pinned === undefined) throw new Error('no kernel is wanted');
    expect(waitingForHub(resultOf(wanted, missing), wanted).state).toMatchObject({
      phase: 'Pending',
      reason: 'WaitingForHub',
      message: 'r.example/driver:all does not exist; the hub of this cluster has not made it yet',
    });
    expect(waitingForHub(resultOf(wanted), wanted)).toEqual(resultOf(wanted));
    expect(waitingForHub(resultOf(pinned, missing), pinned).state).toMatchObject(missing);
  });
});

describe('kernels that share an image', () => {
  it('are worked on apart where each has its own', () => {
    expect(groupsOf({ build })).toEqual([
      { target: `r.example/driver:${oldKernel}`, kernels: [oldKernel] },
      { target: `r.example/driver:${newKernel}`, kernels: [newKernel] },
    ]);
  });

  it('are worked on together, with the files of all', () => {
    const filesToSign = ['/opt/lib/modules/${KERNEL_FULL_VERSION}/hello.ko'];
    const wanted = wantedOf({
      ...oneImage,
      sign: { ...sign, filesToSign, unsignedImage: 'r.example/unsigned' },
    });
    const groups = groupByImage(wanted);
    expect(groups).toHaveLength(1);
    expect(groups[0]?.members).toHaveLength(2);
    expect(groups[0]?.target).toMatchObject({
      sign: { files: [oldKernel, newKernel].map((kernel) => `/opt/lib/modules/${kernel}/hello.ko`) },
    });
  });

  it('fail but for the first where they want different things of it', () => {
    const kernelMappings = [{ literal: oldKernel }, { regexp: '^6', build }];
    expect(groupsOf({ ...oneImage, kernelMappings })).toEqual([
      { target: 'r.example/driver:all', kernels: [oldKernel] },
      { target: 'CONFLICTING_MAPPINGS', kernels: [newKernel] },
    ]);
  });

  it('fail where one signs every module and the other only some', () => {
    const all = { ...sign, unsignedImage: 'r.example/unsigned' };
    const kernelMappings = [
      { literal: oldKernel, sign: all },
      { regexp: '^6', sign: { ...all, filesToSign: ['/opt/hello.ko'] } },
    ];
    expect(groupsOf({ ...oneImage, kernelMappings })).toMatchObject([
      { kernels: [oldKernel] },
      { target: 'CONFLICTING_MAPPINGS' },
    ]);
  });
});

describe('what a Module refers to', () => {
  it('is the account of its pods, whose pull secrets count', () => {
    expect(referencedBy({})).toEqual(['service-account drivers/default']);
    const moduleLoader = {
      serviceAccountName: 'loader',
      container: {
        modprobe: { moduleName: 'hello' },
        containerImage: 'r.example/driver',
        kernelMappings: [{ literal: oldKernel }],
      },
    };
    expect(referencedBy({}, { moduleLoader })).toEqual(['service-account drivers/loader']);
  });

  it('is the pull secret that it names, in place of an account', () => {
    expect(referencedBy({}, { imageRepoSecret: { name: 'pull' } })).toEqual(['pull-secret drivers/pull']);
  });

  it('is the Dockerfile and the certificate, and of the private key only the metadata of its Secret', () => {
    const signing = { keySecret: { name: 'key' }, certSecret: { name: 'certificate' } };
    expect(referencedBy({ build, sign: signing })).toEqual([
      'dockerfile drivers/build',
      'certificate drivers/certificate',
      'secret drivers/key',
      'service-account drivers/default',
    ]);
  });

  it('is nothing for kernels whose mapping cannot be used', () => {
    expect(referencedBy({ containerImage: undefined })).toEqual([]);
  });
});
