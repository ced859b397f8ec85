import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { ImageAccess } from '../../../../src/controller/observe/images/clients.ts';
import {
  ImageRegistry,
  type ImageRegistryOptions,
} from '../../../../src/controller/observe/images/image-registry.ts';
import { RegistryClient } from '../../../../src/registry/image/client.ts';
import type { PullSecretContent } from '../../../../src/registry/credentials/pull-secret.ts';
import type { ImageRepository } from '../../../../src/registry/image/repository.ts';
import { ociMediaTypes } from '../../../../src/registry/model/media-types.ts';
import { Secret } from '../../../../src/shared/secret.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../../src/shared/temporary.ts';
import { startFaultProxy, type FaultProxy } from '../../../support/fault-proxy.ts';
import { storeImage, storeManifest, withParents } from '../../../support/images.ts';
import { describeEachRegistry, testUser, type TestRegistry } from '../../../support/registries.ts';

const anonymous: ImageAccess = { tls: { insecure: true }, pullSecrets: [] };

function pullSecret(host: string, password: string = testUser.password): PullSecretContent {
  const auth = Buffer.from(`${testUser.username}:${password}`).toString('base64');
  return {
    source: 'Secret drivers/pull',
    key: '.dockerconfigjson',
    json: new Secret(JSON.stringify({ auths: { [host]: { auth } } })),
  };
}

describeEachRegistry(
  'an image name is resolved',
  (start) => {
    let registry: TestRegistry;
    let proxy: FaultProxy;
    let client: RegistryClient;
    let images: ImageRegistry;
    let checks: string[];
    let time: number;
    let access: ImageAccess;
    let count = 0;
    let name: string;
    let repository: ImageRepository;

    beforeAll(async () => {
      registry = await start({ authentication: 'basic' });
      proxy = await startFaultProxy({ target: registry.url });
      client = new RegistryClient({
        plainHttp: true,
        credentials: { explicit: { username: testUser.username, password: new Secret(testUser.password) } },
      });
    });
    afterAll(async () => {
      await client.close();
      await proxy.close();
      await registry.close();
    });
    beforeEach(() => {
      time = 0;
      checks = [];
      images = open();
      access = { tls: { insecure: true }, pullSecrets: [pullSecret(proxy.host)] };
      name = `vendor/driver-${count++}`;
      repository = client.repository({ registry: registry.host, repository: name });
      proxy.reset();
    });
    afterEach(() => images.close());

    function open(options: Partial<ImageRegistryOptions> = {}): ImageRegistry {
      return new ImageRegistry({
        userAgent: 'tests',
        now: () => time,
        onCheck: (kind, seconds, outcome) => {
          expect(seconds).toBeGreaterThanOrEqual(0);
          checks.push(`${kind} ${outcome}`);
        },
        ...options,
      });
    }

    const image = (tag = '1.0'): string => `${proxy.host}/${name}:${tag}`;
    const resolve = (tag?: string) => images.resolve({ image: image(tag), access });
    const requests = (): string[] =>
      proxy.requests
        .filter(({ status, path }) => status !== 401 && path.includes('/manifests/'))
        .map(({ method }) => method);

    it('to digest and architecture, with one query for concurrent callers and a cached result', async () => {
      const { digest } = await storeImage(repository, simple(), '1.0');
      const expected = { digest, architectures: ['amd64'] };
      expect(await Promise.all([resolve(), resolve(), resolve()])).toEqual([expected, expected, expected]);
      expect(requests()).toEqual(['GET']);
      time = 599_999;
      expect(await resolve()).toEqual(expected);
      expect(requests()).toEqual(['GET']);
      expect(checks).toEqual(['resolve found']);

      time = 600_000;
      expect(await resolve()).toEqual(expected);
      expect(requests()).toEqual(['GET', 'HEAD']);
      const moved = await storeImage(repository, simple('arm64'), '1.0');
      time = 2 * 600_000;
      expect(await resolve()).toEqual({ digest: moved.digest, architectures: ['arm64'] });
      expect(requests()).toEqual(['GET', 'HEAD', 'HEAD', 'GET']);

      images.forget(image());
      expect(await resolve()).toMatchObject({ digest: moved.digest });
      expect(requests()).toEqual(['GET', 'HEAD', 'HEAD', 'GET', 'HEAD']);
      expect(await resolve()).toMatchObject({ digest: moved.digest });
      expect(requests()).toHaveLength(5);
    });

    it('to nothing if the registry says that it does not exist, and again when the result is old or forgotten', async () => {
      expect(await resolve()).toBeUndefined();
      await storeImage(repository, simple(), '2.0');
      expect(await resolve()).toBeUndefined();
      expect(requests()).toEqual(['GET']);
      expect(checks).toEqual(['resolve missing']);
      time = 10_000;
      expect(await resolve()).toBeUndefined();
      expect(requests()).toEqual(['GET', 'GET']);

      const { digest } = await storeImage(repository, simple(), '1.0');
      images.forget(image('2.0'));
      expect(await resolve()).toBeUndefined();
      images.forget(image());
      expect(await resolve()).toMatchObject({ digest });
    });

    it('to the current image after it was forgotten during a query', async () => {
      const before = await storeImage(repository, simple(), '1.0');
      // It is forgotten while the registry is being asked.
      proxy.reset(() => images.forget(image()) as undefined);
      expect((await resolve())?.digest).toBe(before.digest);
      proxy.reset();
      const after = await storeImage(repository, simple('arm64'), '1.0');
      expect(await resolve()).toMatchObject({ digest: after.digest });
    });

    it('as often if it names a digest, which may be deleted', async () => {
      const { digest } = await storeImage(repository, simple(), '1.0');
      const query = { image: `${proxy.host}/${name}@${digest}`, access };
      expect(await images.resolve(query)).toMatchObject({ digest });
      time = 599_999;
      expect(await images.resolve(query)).toMatchObject({ digest });
      expect(requests()).toEqual(['GET']);
      time = 600_000;
      expect(await images.resolve(query)).toMatchObject({ digest });
      expect(requests()).toEqual(['GET', 'HEAD']);
      await repository.deleteManifest(digest);
      time = 2 * 600_000;
      expect(await images.resolve(query)).toBeUndefined();
    });

    it('again after the configured time', async () => {
      const query = { image: image(), access };
      expect(images.recheckAfter(query)).toBe(600_000);
      await resolve();
      expect(images.recheckAfter(query)).toBe(10_000);
      await storeImage(repository, simple(), '1.0');
      time = 10_000;
      await resolve();
      expect(images.recheckAfter(query)).toBe(600_000);
      time = 100_000;
      await resolve();
      expect(images.recheckAfter(query)).toBe(510_000);
    });

    it('to all architectures of an index', async () => {
      const children = [];
      for (const architecture of ['amd64', 'arm64']) {
        const { mediaType, digest, bytes } = await storeImage(repository, simple(architecture));
        children.push({ mediaType, digest, size: bytes.length, platform: { os: 'linux', architecture } });
      }
      const [first] = children;
      const attestation = {
        ...first,
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
      };
      await storeManifest(
        repository,
        ociMediaTypes.index,
        { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests: [...children, attestation] },
        '1.0',
      );
      expect((await resolve())?.architectures).toEqual(['amd64', 'arm64']);
    });

    it.each([
      ['without credentials', () => [], /No credentials were sent: name a pull secret in imageRepoSecret/],
      [
        'with wrong ones',
        () => [pullSecret(proxy.host, 'wrong')],
        /credentials are valid and may read it: the user name "tester" from Secret drivers\/pull/,
      ],
      [
        'with those of another registry',
        () => [pullSecret('r.example')],
        /None of these has credentials for 127\.0\.0\.1:\d+: Secret drivers\/pull\./,
      ],
    ])('never to nothing %s: that is an error', async (_title, pullSecrets, hint) => {
      access = { tls: { insecure: true }, pullSecrets: pullSecrets() };
      const hinted = expect.stringMatching(hint) as string;
      await expect(resolve()).rejects.toMatchObject({ code: 'UNAUTHORIZED', hint: hinted });
      expect(checks).toEqual(['resolve UNAUTHORIZED']);
    });

    it('with the credentials of several secrets, one of which is valid', async () => {
      const { digest } = await storeImage(repository, simple(), '1.0');
      const [right, wrong] = [pullSecret(proxy.host), pullSecret(proxy.host, 'wrong')];
      const legacy: PullSecretContent = {
        source: 'Secret drivers/legacy',
        key: '.dockercfg',
        json: new Secret(JSON.stringify({ 'r.example': { username: 'a', password: 'b' } })),
      };
      access = { tls: { insecure: true }, pullSecrets: [legacy, wrong, right] };
      expect(await resolve()).toMatchObject({ digest });
    });

    it('separately for callers with other credentials', async () => {
      await storeImage(repository, simple(), '1.0');
      await resolve();
      const changed = { ...access, pullSecrets: [pullSecret(proxy.host, 'wrong')] };
      for (const without of [anonymous, changed]) {
        await expect(images.resolve({ image: image(), access: without })).rejects.toMatchObject({
          code: 'UNAUTHORIZED',
        });
      }
    });

    it.each([
      [500, 'UNEXPECTED_RESPONSE'],
      [403, 'DENIED'],
      [429, 'TOO_MANY_REQUESTS'],
    ])(
      'never to nothing when the registry answers %d: that is an error and not remembered',
      async (status, code) => {
        const { digest } = await storeImage(repository, simple(), '1.0');
        proxy.reset(({ path }) =>
          path.includes('/manifests/')
            ? { kind: 'status', status, headers: { 'retry-after': '0' } }
            : undefined,
        );
        await expect(resolve()).rejects.toMatchObject({ code });
        proxy.reset();
        expect(await resolve()).toMatchObject({ digest });
      },
    );

    it('for the remaining callers when one of them aborts', async () => {
      const { digest } = await storeImage(repository, simple(), '1.0');
      const impatient = new AbortController();
      const both = [images.resolve({ image: image(), access, signal: impatient.signal }), resolve()];
      impatient.abort(new Error('gave up'));
      const [one, two] = await Promise.allSettled(both);
      expect(one).toMatchObject({ status: 'rejected', reason: { message: 'gave up' } });
      expect(two).toMatchObject({ status: 'fulfilled', value: { digest } });
      expect(requests()).toEqual(['GET']);
    });
  },
  ['docker-registry', 'embedded'],
);

describeEachRegistry(
  'an image is resolved over TLS',
  (start) => {
    let registry: TestRegistry;
    let folder: TemporaryDirectory;
    beforeAll(async () => {
      registry = await start({ tls: true });
      folder = await createTemporaryDirectory();
    });
    afterAll(async () => {
      await registry.close();
      await folder[Symbol.asyncDispose]();
    });

    it('with the configured authorities, or without verification if the Module says so', async () => {
      const authority = await readFile(registry.caFile ?? '', 'utf8');
      expect(new X509Certificate(authority).ca).toBe(true);
      const query = { image: `${registry.host}/vendor/driver:1.0`, access: { tls: {}, pullSecrets: [] } };
      await using trusting = closing(
        new ImageRegistry({ userAgent: 'tests', trustedCertificates: authority }),
      );
      expect(await trusting.images.resolve(query)).toBeUndefined();
      await using distrusting = closing(new ImageRegistry({ userAgent: 'tests' }));
      await expect(distrusting.images.resolve(query)).rejects.toMatchObject({ code: 'NETWORK' });
      const careless = { ...query, access: { tls: { insecureSkipTLSVerify: true }, pullSecrets: [] } };
      expect(await distrusting.images.resolve(careless)).toBeUndefined();
    });
  },
  ['embedded'],
);

function closing(images: ImageRegistry): AsyncDisposable & { readonly images: ImageRegistry } {
  return { images, [Symbol.asyncDispose]: () => images.close() };
}

function simple(architecture = 'amd64') {
  return {
    layers: [{ entries: withParents('etc/motd', architecture) }],
    platform: { os: 'linux', architecture },
  };
}
