import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { intermediateImage, withDigest, withTag } from '../../src/builder/image-names.ts';
import { nodeLabels, parseNodeLabel } from '../../src/builder/labels.ts';
import { labelValue, objectName, shortHash } from '../../src/builder/names.ts';
import { parseReference } from '../../src/registry/model/reference.ts';

// As k8s.io/apimachinery/pkg/util/validation has them.
const dnsLabel = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const labelText = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

const anyText = fc.string({ unit: 'grapheme', maxLength: 120, size: 'max' });
const nameText = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b', '-', '.', '_', '+', 'Z', '2'), maxLength: 90, size: 'max' }),
  fc.string({ unit: fc.constantFrom('a', '+'), maxLength: 2 }),
);

describe('names of objects', () => {
  it('are valid whatever they are made from', () => {
    fc.assert(
      fc.property(anyText, anyText, (module, kernel) => {
        const name = objectName([module, kernel], [module, kernel]);
        expect(name.length).toBeLessThanOrEqual(63);
        expect(name).toMatch(dnsLabel);
      }),
    );
  });

  it('tell apart what a lossy spelling would not', () => {
    const kernels = ['5.14.0-70_a', '5.14.0-70.a', '5.14.0-70-a', '5.14.0-70-A', '5.14.0-70-a+'];
    const names = kernels.map((kernel) => objectName(['m', kernel], kernel));
    expect(new Set(names).size).toBe(kernels.length);
  });

  it('begin with what people know', () => {
    const name = objectName(['example-module', 'build', '5.14.0'], 1);
    expect(name).toMatch(/^example-module-build-5-14-0-[a-z2-7]{16}$/);
  });

  it('do not depend on the order of properties', () => {
    expect(shortHash({ a: 1, b: { c: 2, d: 3 } })).toBe(shortHash({ b: { d: 3, c: 2 }, a: 1 }));
    expect(shortHash({ a: [1, 2] })).not.toBe(shortHash({ a: [2, 1] }));
  });
});

describe('values of labels', () => {
  it('are valid, and different for different texts', () => {
    fc.assert(
      fc.property(nameText, nameText, (one, other) => {
        const [a, b] = [labelValue(one), labelValue(other)];
        expect(a.length).toBeLessThanOrEqual(63);
        expect(a).toMatch(labelText);
        expect(a === b).toBe(one === other);
      }),
    );
  });

  it('are the text itself where that is allowed', () => {
    expect(labelValue('5.14.0-70.58.1.el9_0.x86_64')).toBe('5.14.0-70.58.1.el9_0.x86_64');
    expect(labelValue('6.1.0+')).toMatch(/^6\.1\.0__[a-z2-7]{16}$/);
  });

  it('cannot be forged by a text that looks like a shortened one', () => {
    expect(labelValue(labelValue('6.1.0+'))).not.toBe(labelValue('6.1.0+'));
  });
});

describe('labels of nodes', () => {
  it('are the documented ones', () => {
    const labels = nodeLabels({ namespace: 'default', name: 'example-module' });
    expect(labels.ready).toBe('kmm.node.kubernetes.io/default.example-module.ready');
    expect(labels.version).toBe('kmm.node.kubernetes.io/version-module.default.example-module');
  });

  it.each([
    ['a name with dots', 'default', 'example.module.v2'],
    ['a name and a namespace of 41 characters', 'n'.repeat(20), 'm'.repeat(21)],
    ['a name and a namespace of 40 characters', 'n'.repeat(20), 'm'.repeat(20)],
  ])('are those of KMM for %s', (_, namespace, name) => {
    const stem = `kmm.node.kubernetes.io/${namespace}.${name}`;
    expect(nodeLabels({ namespace, name })).toMatchObject({
      ready: `${stem}.ready`,
      devicePluginReady: `${stem}.device-plugin-ready`,
      versionReady: `${stem}.version.ready`,
    });
    expect(parseNodeLabel(`${stem}.ready`)).toEqual({ kind: 'ready', stem: `${namespace}.${name}` });
  });

  it('are valid and tell Modules apart', () => {
    const name = fc.stringMatching(/^[a-z]([a-z.-]{0,60}[a-z])?$/, { size: 'max' });
    const namespace = fc.stringMatching(/^[a-z]([a-z-]{0,61}[a-z])?$/, { size: 'max' });
    const module = fc.record({ namespace, name });
    fc.assert(
      fc.property(module, module, (one, other) => {
        const keys = Object.values(nodeLabels(one));
        for (const key of keys) {
          const part = key.split('/')[1] ?? '';
          expect(part.length).toBeLessThanOrEqual(63);
          expect(part).toMatch(labelText);
        }
        const isSame = one.namespace === other.namespace && one.name === other.name;
        const others = new Set(Object.values(nodeLabels(other)));
        expect(keys.some((key) => others.has(key))).toBe(isSame);
      }),
    );
  });

  it('are read as what they are', () => {
    const name = fc.stringMatching(/^[a-z]([a-z.-]{0,60}[a-z])?$/, { size: 'max' });
    const namespace = fc.stringMatching(/^[a-z]([a-z-]{0,61}[a-z])?$/, { size: 'max' });
    fc.assert(
      fc.property(namespace, fc.oneof(name, fc.constantFrom('version', 'ready')), (of, module) => {
        const read = Object.entries(nodeLabels({ namespace: of, name: module })).map(([kind, key]) => [
          kind,
          parseNodeLabel(key)?.kind,
        ]);
        expect(read).toEqual(read.map(([kind]) => [kind, kind]));
      }),
    );
    expect(parseNodeLabel('kmm.node.kubernetes.io/my-kmod.ready')).toBeUndefined();
    expect(parseNodeLabel('kmm.node.kubernetes.io/ns.my-kmod.ready')).toEqual({
      kind: 'ready',
      stem: 'ns.my-kmod',
    });
  });

  it('keep Modules apart whose names contain the ends of labels', () => {
    const plain = Object.values(nodeLabels({ namespace: 'ns', name: 'm' }));
    const tricky = Object.values(nodeLabels({ namespace: 'ns', name: 'm.version' }));
    expect(plain.filter((key) => tricky.includes(key))).toEqual([]);
  });
});

describe('names of images', () => {
  const module = { namespace: 'default', name: 'example-module' };

  it.each([
    [
      'example.org/repository/minimal-driver:final',
      'example.org/repository/minimal-driver:final-default_example-module_kmm_unsigned',
    ],
    ['reg/a/b', 'reg/a/b:latest-default_example-module_kmm_unsigned'],
    ['reg:5000/a/b', 'reg:5000/a/b:latest-default_example-module_kmm_unsigned'],
    [`reg:5000/a/b:1@sha256:${'0'.repeat(64)}`, 'reg:5000/a/b:1-default_example-module_kmm_unsigned'],
  ])('between build and signature: of %s it is %s', (image, expected) => {
    expect(intermediateImage(image, module)).toBe(expected);
  });

  it('between build and signature need no Module', () => {
    expect(intermediateImage('reg:5000/a/b:1')).toBe('reg:5000/a/b:1-kmm_unsigned');
    const long = intermediateImage(`reg:5000/a/b:${'1'.repeat(128)}`);
    expect(long).toMatch(/^reg:5000\/a\/b:1{98}-[a-z2-7]{16}_kmm_unsigned$/);
  });

  it('refuse a destination that is a digest', () => {
    expect(() => intermediateImage(`reg/a@sha256:${'0'.repeat(64)}`, module)).toThrow(/named by its digest/);
  });

  it('fit into a tag however long everything is, and stay different', () => {
    const part = fc.string({
      unit: fc.constantFrom('a', 'b', '0'),
      minLength: 1,
      maxLength: 100,
      size: 'max',
    });
    fc.assert(
      fc.property(part, part, part, part, (tag, namespace, name, other) => {
        const image = intermediateImage(`registry.example/driver:${tag}`, { namespace, name });
        const second = intermediateImage(`registry.example/driver:${tag}`, { namespace, name: other });
        expect(parseReference(image).repository).toBe('driver');
        expect(image).toMatch(/_kmm_unsigned$/);
        expect(image === second).toBe(name === other);
      }),
    );
  });

  it('take another tag or a digest without losing the port', () => {
    expect(withTag('reg:5000/kaniko', 'v2')).toBe('reg:5000/kaniko:v2');
    expect(withTag('reg:5000/kaniko:v1@sha256:00', 'v2')).toBe('reg:5000/kaniko:v2');
    expect(withDigest('reg:5000/a:1', 'sha256:00')).toBe('reg:5000/a@sha256:00');
    expect(withDigest('reg:5000/a', 'sha256:00')).toBe('reg:5000/a@sha256:00');
  });
});
