import { readFile } from 'node:fs/promises';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  certificateSource,
  dockerfileSource,
  pullSecretSource,
  serviceAccountSource,
} from '../../../../src/controller/observe/references/projections.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../../src/shared/temporary.ts';
import { createTestKey, type TestKey } from '../../../support/signing.ts';

const metadata = { namespace: 'drivers', name: 'one', resourceVersion: '1' };

function base64(entries: Readonly<Record<string, string | Buffer>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(entries).map(([name, value]) => [name, Buffer.from(value).toString('base64')]),
  );
}

/** Returns the cached part of a pull secret. */
function projectionOf(entries: Record<string, string>): unknown {
  return pullSecretSource.project({ metadata, data: base64(entries) }).value;
}

/** Returns the cached part of a Secret with a certificate. */
function certificatesOf(cert: string | Buffer) {
  return certificateSource.project({ metadata, data: base64({ cert }) }).value;
}

describe('the cached part of an object that a Module refers to is', () => {
  let directory: TemporaryDirectory;
  let keys: readonly [TestKey, TestKey];
  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    keys = [await createTestKey(directory.path, 'first'), await createTestKey(directory.path, 'second')];
  });
  afterAll(() => directory[Symbol.asyncDispose]());

  it('the entries of a ConfigMap that may be the Dockerfile', () => {
    const data = { dockerfile: 'FROM one', other: 'not ours' };
    expect(dockerfileSource.project({ metadata, data }).value).toEqual({ dockerfile: 'FROM one' });
    expect(dockerfileSource.project({ metadata }).value).toEqual({});
  });

  it('the first certificate of a Secret as the one that signs, in PEM as in DER', async () => {
    const [first, second] = await Promise.all(keys.map(({ certificate }) => readFile(certificate, 'utf8')));
    const expected = new X509Certificate(first ?? '');
    const fingerprint = expected.fingerprint256.replaceAll(':', '').toLowerCase();
    expect(certificatesOf(expected.raw)).toMatchObject({ fingerprint });
    const both = certificatesOf(`${first}${second}`);
    expect(both).toMatchObject({ fingerprint });
    expect(both instanceof Error ? [] : both.certificates.map(({ raw }) => raw.toString('hex'))).toEqual(
      [first, second].map((pem) => new X509Certificate(pem ?? '').raw.toString('hex')),
    );
  });

  it.each([
    ['no certificate', { key: 'only' }, 'The Secret drivers/one has no entry "cert"'],
    [
      'something else for one',
      { cert: 'nothing of the kind' },
      'The Secret drivers/one has an entry "cert" that is not a readable certificate',
    ],
  ])('an error that names the Secret which has %s', (_title, entries, message) => {
    const { value } = certificateSource.project({ metadata, data: base64(entries) });
    expect(value).toMatchObject({
      code: 'INVALID_CERTIFICATE_SECRET',
      message,
      facts: { kind: 'Secret', namespace: 'drivers', name: 'one' },
    });
  });

  it('the credentials of a pull secret, in the newer form if it has both', () => {
    expect(projectionOf({ '.dockercfg': '{}' })).toMatchObject({
      key: '.dockercfg',
      source: 'Secret drivers/one',
    });
    expect(projectionOf({ '.dockercfg': '{}', '.dockerconfigjson': '{"auths":{}}' })).toMatchObject({
      key: '.dockerconfigjson',
    });
    expect(projectionOf({ 'config.json': '{}' })).toMatchObject({ code: 'INVALID_PULL_SECRET' });
  });

  it('the names of a ServiceAccount’s pull secrets', () => {
    const imagePullSecrets = [{ name: 'a' }, {}, { name: '' }, { name: 'b' }];
    expect(serviceAccountSource.project({ metadata, imagePullSecrets }).value).toEqual(['a', 'b']);
    expect(serviceAccountSource.project({ metadata }).value).toEqual([]);
  });

  it('the same digest while nothing that is used changes, and another when it does', () => {
    const later = { ...metadata, resourceVersion: '2', labels: { new: 'yes' } };
    const digests = [
      dockerfileSource.project({ metadata, data: { dockerfile: 'FROM one' } }),
      dockerfileSource.project({ metadata: later, data: { dockerfile: 'FROM one', more: 'x' } }),
      dockerfileSource.project({ metadata, data: { dockerfile: 'FROM two' } }),
      dockerfileSource.project({ metadata, data: { Dockerfile: 'FROM one' } }),
    ].map(({ digest }) => digest);
    expect(digests[1]).toBe(digests[0]);
    expect(new Set(digests).size).toBe(3);
    const certificates = ['one', 'another'].map(
      (key) => certificateSource.project({ metadata, data: base64({ cert: 'same', key }) }).digest,
    );
    expect(certificates[1]).toBe(certificates[0]);
  });
});
