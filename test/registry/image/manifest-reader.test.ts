import { expect, test } from 'vitest';
import { LayoutRepository } from '../../../src/registry/image/layout-repository.ts';
import { ManifestReader } from '../../../src/registry/image/manifest-reader.ts';
import { ociMediaTypes } from '../../../src/registry/model/media-types.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { storeManifest } from '../../support/images.ts';

const exceeded = expect.objectContaining({ code: 'LIMIT_EXCEEDED' });
const index = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests: [] };

test('manifests are followed down to eight levels', async () => {
  await using directory = await createTemporaryDirectory();
  const repository = new LayoutRepository(directory.path);
  const manifest = await storeManifest(repository, ociMediaTypes.index, index);
  const reader = new ManifestReader(repository);
  expect(await reader.read(manifest, { depth: 8 })).toMatchObject({ kind: 'index' });
  await expect(reader.read(manifest, { depth: 9 })).rejects.toEqual(exceeded);
});

test('a thousand children are followed, also where they are always the same', async () => {
  await using directory = await createTemporaryDirectory();
  const repository = new LayoutRepository(directory.path);
  const manifest = await storeManifest(repository, ociMediaTypes.index, index);
  const reader = new ManifestReader(repository);
  for (let count = 0; count < 1000; count += 1) await reader.read(manifest, { depth: 1 });
  await expect(reader.read(manifest, { depth: 1 })).rejects.toEqual(exceeded);
});

test('manifests are read up to 64 MiB in sum', async () => {
  await using directory = await createTemporaryDirectory();
  const repository = new LayoutRepository(directory.path);
  const reader = new ManifestReader(repository);
  const filler = 'x'.repeat(3.9 * 1024 * 1024);
  const readOneMore = async (count: number) => {
    const json = { ...index, annotations: { filler, count: String(count) } };
    return reader.read(await storeManifest(repository, ociMediaTypes.index, json), { depth: 1 });
  };
  for (let count = 1; count <= 16; count += 1) await readOneMore(count);
  await expect(readOneMore(17)).rejects.toEqual(exceeded);
});
