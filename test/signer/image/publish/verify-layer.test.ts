import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { ociMediaTypes } from '../../../../src/registry/model/media-types.ts';
import { LayoutRepository } from '../../../../src/registry/image/layout-repository.ts';
import type { Selector } from '../../../../src/registry/model/reference.ts';
import type { Manifest } from '../../../../src/registry/model/manifest.ts';
import { verifyLayer } from '../../../../src/signer/image/publish/verify-layer.ts';
import type { ProgressEvent } from '../../../../src/signer/model/report.ts';
import {
  signTag,
  type ImageRepository,
  type SignReport,
  type SignImageOptions,
  makeTar,
  storeImage,
  storeManifest,
  withParents,
  createTestKey,
  useSigningBench,
  type TestKey,
} from '../../../support/signed-images.ts';
import { startFaultProxy } from '../../../support/fault-proxy.ts';
import { describeWith } from '../../../support/programs.ts';

const bench = useSigningBench();
let count = 0;
let source: ImageRepository;
let destination: ImageRepository;
let events: ProgressEvent[];

beforeEach(() => {
  count += 1;
  source = bench.repository(`vendor/driver-${count}`);
  destination = bench.repository(destinationName());
  events = [];
});

function sign(options: Partial<SignImageOptions> = {}): Promise<SignReport> {
  return signTag(source, destination, bench.key.signer, {
    onProgress: (event) => events.push(event),
    ...options,
  });
}

function destinationName(): string {
  return `signed/driver-${count}`;
}

/** Stores an image with a module, and another one where the result is to go. */
async function prepare(): Promise<string> {
  await storeImage(source, { layers: [{ entries: withParents('m/a.ko', bench.hello) }] }, '1.0');
  const before = { layers: [{ entries: [{ name: 'before', content: 'before' }] }] };
  return (await storeImage(destination, before, '1.0')).digest;
}

/** Names of the manifests that the registry stores for the destination. */
async function storedManifests(): Promise<string[]> {
  const folder = join(bench.registry.storage, 'repositories', destinationName(), '_manifests', 'sha256');
  return (await readdir(folder)).toSorted();
}

async function expectUntouched(digest: string): Promise<void> {
  expect(await destination.resolve({ tag: '1.0' })).toMatchObject({ digest });
  expect(events.filter(({ type }) => type === 'tagged')).toEqual([]);
}

/** A program for `signFile` that is a line of shell: $1 hash, $2 key, $3 certificate, $4 module, $5 result. */
async function programOf(line: string): Promise<SignImageOptions['signFile']> {
  const program = join(bench.folder, `sign-file-${count}`);
  await writeFile(program, `#!/bin/sh\n${line}\n`);
  await chmod(program, 0o755);
  const { key, certificate } = bench.key;
  return { program, key, certificate };
}

describeWith(['sign-file'], 'signImage with a program that does not sign as it should', (programs) => {
  let other: TestKey;

  beforeEach(async () => {
    other = await createTestKey(bench.folder, `other-${count}`);
  });

  describe.each(['rewrite', 'append'] as const)('in mode %s', (mode) => {
    it.each([
      [
        'signs with another key',
        (): string => `exec ${programs['sign-file']} "$1" ${other.key} ${other.certificate} "$4" "$5"`,
        /^\/m\/a\.ko does not verify: /,
      ],
      [
        'signs with another hash',
        (): string => `exec ${programs['sign-file']} sha512 "$2" "$3" "$4" "$5"`,
        /^\/m\/a\.ko is signed with sha512; /,
      ],
      ['signs other bytes', (): string => otherBytes(programs['sign-file']), /^\/m\/a\.ko does not verify: /],
      ['appends nothing', (): string => 'exec cp "$4" "$5"', /^\/m\/a\.ko does not verify: /],
    ] as const)('publishes nothing when it %s', async (_, line, message) => {
      const before = await prepare();
      const manifests = await storedManifests();
      await expect(sign({ mode, signFile: await programOf(line()) })).rejects.toMatchObject({
        code: 'VERIFICATION_FAILED',
        message: expect.stringMatching(message) as string,
      });
      expect(await storedManifests()).toEqual(manifests);
      await expectUntouched(before);
    });
  });

  it('publishes nothing of an index when one of its images does not verify', async () => {
    await prepare();
    const images = await Promise.all(
      ['amd64', 'arm64'].map(async (architecture) => {
        const content = Buffer.concat([bench.hello, Buffer.from(architecture)]);
        const layers = [{ entries: withParents(`m/${architecture}.ko`, content) }];
        const platform = { os: 'linux', architecture };
        const { digest, mediaType, bytes } = await storeImage(source, { platform, layers });
        return { mediaType, digest, size: bytes.length, platform };
      }),
    );
    const mediaType = ociMediaTypes.index;
    await storeManifest(source, mediaType, { schemaVersion: 2, mediaType, manifests: images }, '1.0');
    const before = (await destination.resolve({ tag: '1.0' })).digest;
    const signFile = await programOf(
      `if tail -c 5 "$4" | grep -q arm64; then set -- "$1" ${other.key} ${other.certificate} "$4" "$5"; fi\n` +
        `exec ${programs['sign-file']} "$@"`,
    );
    await expect(sign({ signFile })).rejects.toMatchObject({
      code: 'VERIFICATION_FAILED',
      message: expect.stringMatching(/^\/m\/arm64\.ko does not verify: /) as string,
    });
    await expectUntouched(before);
  });
});

/** Signs a module with a byte more, and moves the signature to the module without it. */
function otherBytes(signFile: string): string {
  return [
    'set -e; size=$(stat -L -c %s "$4"); other=$(mktemp)',
    'cat "$4" > "$other"; printf x >> "$other"',
    `${signFile} "$1" "$2" "$3" "$other"`,
    'cat "$4" > "$5"; tail -c +$((size + 2)) "$other" >> "$5"; rm "$other"',
  ].join('\n');
}

async function layerOf(paths: readonly string[]): Promise<AsyncIterable<Buffer>> {
  const tar = await makeTar(paths.map((name) => ({ name, content: bench.hello })));
  return (async function* () {
    yield tar;
  })();
}

describe('verifyLayer', () => {
  it('misses a module that the layer does not contain', async () => {
    const { certificate } = bench.key.signer;
    await expect(
      verifyLayer(await layerOf([]), { size: 0, entries: new Set([0]), certificate, hash: 'sha256' }),
    ).rejects.toMatchObject({
      code: 'VERIFICATION_FAILED',
      message: expect.stringContaining('contains 0 of 1 signed modules') as string,
    });
  });

  it('does not take another entry for the module that it misses', async () => {
    const { certificate } = bench.key.signer;
    await expect(
      verifyLayer(await layerOf(['a.ko']), { size: 0, entries: new Set([1]), certificate, hash: 'sha256' }),
    ).rejects.toMatchObject({ code: 'VERIFICATION_FAILED' });
  });

  it('passes over modules that were not to be signed', async () => {
    const { certificate } = bench.key.signer;
    const blob = await layerOf(['a.ko']);
    expect(await verifyLayer(blob, { size: 0, entries: new Set(), certificate, hash: 'sha256' })).toBe(0);
  });
});

describe('signImage and a registry that does not keep what it took', () => {
  it('moves no tag when the manifest is gone', async () => {
    const before = await prepare();
    let isStored = false;
    await using proxy = await startFaultProxy({
      target: `http://${bench.registry.host}`,
      choose: ({ method, path }) => {
        if (method === 'PUT' && path.includes('/manifests/sha256:')) isStored = true;
        if (method === 'GET' && path.includes('/manifests/sha256:') && isStored)
          return { kind: 'status', status: 404 };
        return undefined;
      },
    });
    const repository = bench.client.repository({ registry: proxy.host, repository: destinationName() });
    await expect(sign({ destination: { repository, tag: '1.0' } })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(isStored).toBe(true);
    await expectUntouched(before);
  });

  it('moves no tag when it gives another manifest for the digest', async () => {
    await storeImage(source, { layers: [{ entries: withParents('m/a.ko', bench.hello) }] }, '1.0');
    const layout = new AnotherManifest(join(bench.folder, `layout-${count}`));
    destination = layout;
    const before = { layers: [{ entries: [{ name: 'before', content: 'before' }] }] };
    const { digest } = await storeImage(layout, before, '1.0');
    layout.given = await layout.getManifest({ tag: '1.0' });
    await expect(sign()).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining('the tag was not moved') as string,
    });
    await expectUntouched(digest);
  });

  it('moves no tag when a layer changed behind its back, if it is to read back', async () => {
    const before = await prepare();
    const repository = destination;
    const original = repository.putManifest.bind(repository);
    repository.putManifest = async (manifest, options) => {
      await original(manifest, options);
      const { layers } = JSON.parse(manifest.bytes.toString()) as { layers: { digest: string }[] };
      for (const { digest } of layers) await damage(digest);
    };
    await expect(sign({ readBack: true })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    await expectUntouched(before);
  });
});

/** A layout that does not verify what it reads, as no repository of ours would do. */
class AnotherManifest extends LayoutRepository {
  given: Manifest | undefined;

  override async getManifest(selector: Selector): Promise<Manifest> {
    return 'digest' in selector && this.given !== undefined ? this.given : super.getManifest(selector);
  }
}

/** Changes a byte of a blob where the registry stores it. */
async function damage(digest: string): Promise<void> {
  const name = digest.slice('sha256:'.length);
  const files = await readdir(bench.registry.storage, { recursive: true, withFileTypes: true });
  const file = files.find((entry) => entry.isFile() && join(entry.parentPath, entry.name).includes(name));
  if (file === undefined) throw new Error(`the registry has no file for ${digest}`);
  const path = join(file.parentPath, file.name);
  const bytes = await readFile(path);
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await writeFile(path, bytes);
}
