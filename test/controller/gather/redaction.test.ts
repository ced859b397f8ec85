import { describe, expect, it } from 'vitest';
import { createAnonymizer } from '../../../src/controller/gather/host-names.ts';
import { cleanObject, redactText } from '../../../src/controller/gather/redaction.ts';
import { findReferences } from '../../../src/controller/gather/references.ts';

describe('what a gathering writes of text', () => {
  it.each([
    ['a password in a URL', 'GET https://user:pass@host/v2', 'GET https://[redacted]@host/v2'],
    ['a user in a URL', 'https://token@host/', 'https://[redacted]@host/'],
    ['a token', 'authorization: Bearer abc.def', 'authorization: [redacted]'],
    [
      'a password on a command line',
      'run --registry-password=abc --tls',
      'run --registry-password=[redacted] --tls',
    ],
    [
      'a private key',
      'x\n-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\ny',
      'x\n-----BEGIN RSA PRIVATE KEY----- [redacted]\ny',
    ],
    [
      'a private key that was cut off',
      '-----BEGIN PRIVATE KEY-----\nMIIabc',
      '-----BEGIN PRIVATE KEY----- [redacted]',
    ],
  ])('is without %s', (_what, text, redacted) => {
    expect(redactText(text)).toBe(redacted);
  });

  it.each(['registry.example/vendor/driver@sha256:abc', 'https://host/path?a=b@c', 'mail user@example.com'])(
    'keeps %s',
    (text) => expect(redactText(text)).toBe(text),
  );

  it('hides values of variables and arguments with a telling name, wherever they are', () => {
    const spec = {
      env: [
        { name: 'API_TOKEN', value: 'abc' },
        { name: 'MODE', value: 'fast' },
      ],
    };
    const object = { kind: 'Module', metadata: { name: 'x' }, spec: { buildArgs: spec.env, pods: [spec] } };
    const cleaned = JSON.stringify(cleanObject(object));
    expect(cleaned).not.toContain('abc');
    expect(cleaned).toContain('fast');
  });

  it('leaves out what changes while nothing happens', () => {
    const metadata = {
      name: 'worker',
      resourceVersion: '17',
      managedFields: [{}],
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}', kept: 'yes' },
    };
    const conditions = [{ type: 'Ready', lastHeartbeatTime: '2026-01-01T00:00:00Z', status: 'True' }];
    const node = { kind: 'Node', metadata, status: { images: [{ names: ['a'] }], conditions } };
    expect(cleanObject(node)).toEqual({
      kind: 'Node',
      metadata: { name: 'worker', annotations: { kept: 'yes' } },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    });
  });
});

describe('host names that are replaced', () => {
  const anonymize = createAnonymizer(['node-1', 'node-1.example.com', '10.0.0.7', 'fe80::1'], 'salt');
  const [short, long, address] = ['node-1', 'node-1.example.com', '10.0.0.7'].map(anonymize);

  it('have the same replacement everywhere, and different ones each', () => {
    expect(new Set([short, long, address]).size).toBe(3);
    for (const one of [short, long, address]) expect(one).toMatch(/^host-[0-9a-f]{10}$/);
    expect(anonymize('on NODE-1: node-1.example.com:443')).toBe(`on ${short}: ${long}:443`);
  });

  it('are found within names of pods and images', () => {
    expect(anonymize('kmm-worker-node-1-driver')).toBe(`kmm-worker-${short}-driver`);
    expect(anonymize('http://10.0.0.7:5000/x')).toBe(`http://${address}:5000/x`);
    expect(anonymize('[fe80::1]:80')).toMatch(/^\[host-[0-9a-f]{10}\]:80$/);
  });

  it.each(['node-10', 'mynode-1', '110.0.0.7', '10.0.0.70'])('are not found in %s', (text) => {
    expect(anonymize(text)).toBe(text);
  });
});

describe('what a Module refers to', () => {
  const spec = {
    imageRepoSecret: { name: 'pull' },
    moduleLoader: {
      serviceAccountName: 'loader',
      container: {
        build: { dockerfileConfigMap: { name: 'dockerfile' }, secrets: [{ name: 'build' }] },
        kernelMappings: [{ sign: { keySecret: { name: 'key' }, certSecret: { name: 'certificate' } } }],
      },
    },
  };

  it('is found at the container and at the mappings, in its own namespace', () => {
    expect(namesOf({ kind: 'Module', metadata: { namespace: 'a', name: 'x' }, spec })).toEqual([
      'Secret a/pull',
      'ServiceAccount a/loader',
      'ConfigMap a/dockerfile',
      'Secret a/build',
      'Secret a/key',
      'Secret a/certificate',
    ]);
  });

  it('is in the operator’s namespace on a hub, which has no accounts of pods on nodes', () => {
    const names = namesOf({
      kind: 'ManagedClusterModule',
      metadata: { name: 'x' },
      spec: { moduleSpec: spec },
    });
    expect(names).toContain('Secret hub/key');
    expect(names.filter((name) => name.startsWith('ServiceAccount'))).toEqual([]);
  });

  it('is found in a spec that is invalid', () => {
    expect(namesOf({ metadata: { namespace: 'a', name: 'x' }, spec: { keySecret: ['k', null, 3] } })).toEqual(
      ['Secret a/k'],
    );
  });
});

function namesOf(object: Parameters<typeof findReferences>[0]): string[] {
  return findReferences(object, 'hub').map(({ kind, key }) => `${kind} ${key.namespace}/${key.name}`);
}
