import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LayoutRepository } from '../../../src/registry/image/layout-repository.ts';
import { digestHex } from '../../../src/registry/model/digest.ts';
import { ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import { openRepository, parseImageLocation, selectorOf } from '../../../src/registry/open-repository.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { storeImage, storeManifest, withParents } from '../../support/images.ts';
import { describeWith } from '../../support/programs.ts';
import { describeBlob, noise } from '../transfer/transfer-server.ts';

const run = promisify(execFile);
const image = (name: string) => ({ layers: [{ entries: withParents(`opt/${name}`, name) }] });
const blob = noise(3_000_000);
const descriptor = describeBlob(blob);
const open = (): Readable => Readable.from([blob]);

let temporary: TemporaryDirectory;
let directory: string;
let layout: LayoutRepository;

beforeEach(async () => {
  temporary = await createTemporaryDirectory();
  directory = join(temporary.path, 'new', 'layout');
  layout = new LayoutRepository(directory);
});

afterEach(async () => {
  await temporary[Symbol.asyncDispose]();
});

const indexOf = async (): Promise<{ manifests: { digest: string }[] }> =>
  JSON.parse(await readFile(join(directory, 'index.json'), 'utf8'));
const pathOf = (digest: typeof descriptor.digest): string =>
  join(directory, 'blobs/sha256', digestHex(digest));

describe('an OCI layout', () => {
  test('is made by the first write, with nothing left over', async () => {
    const raw = await storeImage(layout, image('a'), '1.0');
    expect(JSON.parse(await readFile(join(directory, 'oci-layout'), 'utf8'))).toEqual({
      imageLayoutVersion: '1.0.0',
    });
    expect(await indexOf()).toEqual({
      schemaVersion: 2,
      mediaType: ociMediaTypes.index,
      manifests: [
        {
          mediaType: ociMediaTypes.manifest,
          digest: raw.digest,
          size: raw.bytes.length,
          annotations: { 'org.opencontainers.image.ref.name': '1.0' },
        },
      ],
    });
    const names = await readdir(join(directory, 'blobs/sha256'));
    expect(names).toHaveLength(3);
    expect(names.every((name) => /^[0-9a-f]{64}$/.test(name))).toBe(true);
  });

  test('that does not exist is empty, and is not created by a read', async () => {
    await expect(layout.resolve({ tag: '1.0' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(layout.listTags()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await layout.hasBlob(descriptor)).toBe(false);
    await expect(layout.openBlob(descriptor)).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND' });
    expect(await readdir(temporary.path)).toEqual([]);
  });

  test.each(['precious', 'index.json', 'blobs/sha256/precious'])(
    'is not made among other files: %s',
    async (path) => {
      const file = join(directory, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, '{"mine":1}');
      const before = await readdir(directory, { recursive: true });
      await expect(layout.putBlob(descriptor, open)).rejects.toMatchObject({
        code: 'INVALID_REFERENCE',
        message: `oci:${directory}: the directory contains other files and is not an OCI layout (oci-layout is missing)`,
      });
      expect(await readdir(directory, { recursive: true })).toEqual(before);
      expect(await readFile(file, 'utf8')).toBe('{"mine":1}');
    },
  );

  test('refuses a manifest that does not match its digest, and stores nothing of it', async () => {
    const raw = await storeImage(layout, image('a'), '1.0');
    const before = await readdir(directory, { recursive: true });
    const bytes = Buffer.from(`${raw.bytes.toString()} `);
    await expect(
      layout.putManifest({ ...raw, digest: descriptor.digest, bytes }, { tag: '2.0' }),
    ).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await readdir(directory, { recursive: true })).toEqual(before);
    expect(await layout.listTags()).toEqual(['1.0']);
  });

  test('moves a tag to another image', async () => {
    const first = await storeImage(layout, image('a'), '1.0');
    const second = await storeImage(layout, image('b'), '1.0');
    expect(await layout.resolve({ tag: '1.0' })).toMatchObject({ digest: second.digest });
    expect(await layout.listTags()).toEqual(['1.0']);
    expect((await layout.getManifest({ digest: first.digest })).raw.bytes).toEqual(first.bytes);
  });

  test('keeps every tag when many are written at once', async () => {
    const raw = await storeImage(layout, image('a'));
    const tags = Array.from({ length: 20 }, (_, at) => `t${at}`);
    await Promise.all(tags.map((tag) => layout.putManifest(raw, { tag })));
    expect((await layout.listTags()).toSorted()).toEqual(tags.toSorted());
  });

  test('lists an index without a tag by itself, and not its children', async () => {
    const child = await storeImage(layout, image('a'));
    const manifests = [{ mediaType: child.mediaType, digest: child.digest, size: child.bytes.length }];
    const index = await storeManifest(layout, ociMediaTypes.index, { schemaVersion: 2, manifests });
    expect(await layout.defaultSelector()).toEqual({ digest: index.digest });
    expect(await layout.resolve({ digest: child.digest })).toMatchObject(manifests[0] ?? {});
  });

  test('with one image needs no tag, with two it does', async () => {
    const location = parseImageLocation(`oci:${directory}`);
    const repository = await openRepository(location);
    const first = await storeImage(layout, image('a'), '1.0');
    expect(await selectorOf(location, repository)).toEqual({ digest: first.digest });
    await storeImage(layout, image('b'), '2.0');
    await expect(selectorOf(location, repository)).rejects.toMatchObject({ code: 'INVALID_REFERENCE' });
  });

  test('deletes a manifest with its tags', async () => {
    const raw = await storeImage(layout, image('a'), '1.0');
    await layout.deleteManifest(raw.digest);
    expect(await layout.listTags()).toEqual([]);
    await expect(layout.resolve({ digest: raw.digest })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(layout.deleteManifest(raw.digest)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('keeps unknown fields of its index', async () => {
    await storeImage(layout, image('a'), '1.0');
    const index = { ...(await indexOf()), 'x-kept': [1] };
    await writeFile(join(directory, 'index.json'), JSON.stringify(index));
    await storeImage(layout, image('b'), '2.0');
    expect(await indexOf()).toMatchObject({ 'x-kept': [1], manifests: [index.manifests[0], {}] });
  });
});

describe('a blob of a layout', () => {
  test('is stored once and read back', async () => {
    expect(await layout.putBlob(descriptor, open)).toBe('uploaded');
    expect(await layout.putBlob(descriptor, open)).toBe('exists');
    expect(blob.equals(await buffer(await layout.openBlob(descriptor)))).toBe(true);
  });

  test('is copied from another layout', async () => {
    const other = new LayoutRepository(join(temporary.path, 'other'));
    await other.putBlob(descriptor, open);
    expect(await layout.copyBlob(descriptor, other)).toBe('uploaded');
    expect(blob.equals(await readFile(pathOf(descriptor.digest)))).toBe(true);
  });

  test.each([
    ['other bytes', () => Readable.from([noise(blob.length, 'other')])],
    ['too few bytes', () => Readable.from([blob.subarray(1)])],
    ['too many bytes', () => Readable.from([blob, blob])],
  ])('of %s is not stored, and leaves nothing', async (_, wrong) => {
    await expect(layout.putBlob(descriptor, wrong)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await readdir(join(directory, 'blobs/sha256'))).toEqual([]);
  });

  test('whose source fails leaves nothing', async () => {
    const broken = new Error('the source is gone');
    const failing = (): Readable => new Readable({ read: (): void => {} }).destroy(broken);
    await expect(layout.putBlob(descriptor, failing)).rejects.toBe(broken);
    expect(await readdir(join(directory, 'blobs/sha256'))).toEqual([]);
  });

  test('that was cut short on disk is not taken for it, and is rewritten', async () => {
    await layout.putBlob(descriptor, open);
    await truncate(pathOf(descriptor.digest), 1000);
    await expect(layout.openBlob(descriptor)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await layout.putBlob(descriptor, open)).toBe('uploaded');
    expect(blob.equals(await buffer(await layout.openBlob(descriptor)))).toBe(true);
  });

  test('that was changed on the disk ends in an error', async () => {
    await layout.putBlob(descriptor, open);
    await writeFile(pathOf(descriptor.digest), noise(blob.length, 'other'));
    await expect(buffer(await layout.openBlob(descriptor))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });

  test('that is a symbolic link out of the layout is refused', async () => {
    await layout.putBlob(descriptor, open);
    const outside = join(temporary.path, 'outside');
    await rename(pathOf(descriptor.digest), outside);
    await symlink(outside, pathOf(descriptor.digest));
    await expect(layout.openBlob(descriptor)).rejects.toMatchObject({ code: 'INVALID_MANIFEST' });
  });

  test('is not written through a directory that leads out of the layout', async () => {
    await storeImage(layout, image('a'), '1.0');
    await rm(join(directory, 'blobs'), { recursive: true });
    await symlink(temporary.path, join(directory, 'blobs'));
    await expect(layout.putBlob(descriptor, open)).rejects.toMatchObject({ code: 'INVALID_MANIFEST' });
    expect(await readdir(temporary.path)).toEqual(['new']);
  });

  test('that is a named pipe does not hold anything up', async () => {
    await layout.putBlob(descriptor, open);
    await rm(pathOf(descriptor.digest));
    await run('mkfifo', [pathOf(descriptor.digest)]);
    await expect(layout.openBlob(descriptor)).rejects.toMatchObject({ code: 'INVALID_MANIFEST' });
  });
});

describe('a damaged layout', () => {
  test('with another size in its index is refused', async () => {
    await storeImage(layout, image('a'), '1.0');
    const index = await readFile(join(directory, 'index.json'), 'utf8');
    await writeFile(join(directory, 'index.json'), index.replace(/"size": *\d+/, '"size":5'));
    await expect(layout.getManifest({ tag: '1.0' })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test('with an index of more than 8 MiB is not read', async () => {
    await storeImage(layout, image('a'), '1.0');
    await truncate(join(directory, 'index.json'), 8 * 1024 * 1024 + 1);
    await expect(layout.resolve({ tag: '1.0' })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  test('with a link to a folder beside it, whose name begins with its own, is refused', async () => {
    const beside = `${directory}-beside`;
    await layout.putBlob(descriptor, open);
    await mkdir(beside);
    await rename(pathOf(descriptor.digest), join(beside, 'blob'));
    await symlink(join(beside, 'blob'), pathOf(descriptor.digest));
    await expect(layout.openBlob(descriptor)).rejects.toMatchObject({ code: 'INVALID_MANIFEST' });
  });

  test('deletes nothing behind a link that leads out of it', async () => {
    const { digest } = await storeImage(layout, image('a'), '1.0');
    const outside = join(temporary.path, 'outside');
    await rename(join(directory, 'blobs/sha256'), outside);
    await symlink(outside, join(directory, 'blobs/sha256'));
    await expect(layout.deleteManifest(digest)).rejects.toMatchObject({ code: 'INVALID_MANIFEST' });
    expect(await readdir(outside)).toContain(digestHex(digest));
  });

  test('with a manifest of other bytes is refused', async () => {
    const raw = await storeImage(layout, image('a'), '1.0');
    await writeFile(pathOf(raw.digest), raw.bytes.toString().replace('"size":', '"size" :'));
    await expect(layout.getManifest({ tag: '1.0' })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    await writeFile(pathOf(raw.digest), raw.bytes.toString().replace('2', '3'));
    await expect(layout.getManifest({ tag: '1.0' })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  test.each([
    ['index.json', '{', 'INVALID_MANIFEST'],
    ['index.json', '{"schemaVersion":2,"layers":[],"config":{}}', 'INVALID_MANIFEST'],
    ['oci-layout', '{"imageLayoutVersion":"2.0.0"}', 'UNSUPPORTED_MEDIA_TYPE'],
  ])('with %s of %s is refused', async (file, content, code) => {
    await storeImage(layout, image('a'), '1.0');
    await writeFile(join(directory, file), content);
    await expect(layout.resolve({ tag: '1.0' })).rejects.toMatchObject({ code });
  });

  test('with one tag for two images is refused', async () => {
    await storeImage(layout, image('a'), '1.0');
    await storeImage(layout, image('b'), '2.0');
    const text = await readFile(join(directory, 'index.json'), 'utf8');
    await writeFile(join(directory, 'index.json'), text.replace('2.0', '1.0'));
    await expect(layout.resolve({ tag: '1.0' })).rejects.toMatchObject({ code: 'INVALID_MANIFEST' });
  });
});

describeWith(['skopeo'], 'a layout and skopeo', ({ skopeo }) => {
  const policy = ['--insecure-policy'];

  test('reads what we write', async () => {
    const raw = await storeImage(layout, image('a'), '1.0');
    const { stdout } = await run(skopeo, [
      ...policy,
      'inspect',
      '--format',
      '{{.Digest}}',
      `oci:${directory}:1.0`,
    ]);
    expect(stdout.trim()).toBe(raw.digest);
    await run(skopeo, [...policy, 'copy', `oci:${directory}:1.0`, `dir:${temporary.path}/copy`]);
    expect(await readFile(join(temporary.path, 'copy/manifest.json'))).toEqual(raw.bytes);
  });

  test('writes what we read', async () => {
    const raw = await storeImage(layout, image('a'), '1.0');
    const other = join(temporary.path, 'other');
    await run(skopeo, [...policy, 'copy', `oci:${directory}:1.0`, `oci:${other}:copied`]);
    const theirs = new LayoutRepository(other);
    const manifest = await theirs.getManifest({ tag: 'copied' });
    expect(manifest.raw.digest).toBe(raw.digest);
    if (manifest.kind !== 'image') throw new Error('not an image');
    for (const layer of [...manifest.layers, manifest.config]) {
      expect((await buffer(await theirs.openBlob(layer))).length).toBe(layer.size);
    }
    await storeImage(theirs, image('b'), 'ours');
    const { stdout } = await run(skopeo, [
      ...policy,
      'inspect',
      '--format',
      '{{.Digest}}',
      `oci:${other}:ours`,
    ]);
    expect(stdout.trim()).toBe((await theirs.resolve({ tag: 'ours' })).digest);
  });

  test('without a tag understand one another', async () => {
    const raw = await storeImage(layout, image('a'));
    const { stdout } = await run(skopeo, [
      ...policy,
      'inspect',
      '--format',
      '{{.Digest}}',
      `oci:${directory}`,
    ]);
    expect(stdout.trim()).toBe(raw.digest);
    const other = join(temporary.path, 'other');
    await run(skopeo, [...policy, 'copy', `oci:${directory}`, `oci:${other}`]);
    expect(await new LayoutRepository(other).defaultSelector()).toEqual({ digest: raw.digest });
  });
});
