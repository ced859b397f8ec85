/** Makes the images that are measured and puts them into the registry's storage, once. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { kernelRelease } from '../test/support/debian-kernel.ts';
import { type Layer, makeLayer, type Workshop } from './layers.ts';
import { type ImageRecipe, imageRecipes, layerRecipes } from './recipes.ts';
import { pushBlob, pushManifest, startRegistry } from './registry.ts';

const mediaTypes = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
};

/** An image in the registry's storage. */
export interface BenchImage {
  readonly name: string;
  readonly repository: string;
  readonly tag: string;
  /** Absolute paths of the modules, as they are given to every signer. */
  readonly modules: readonly string[];
  readonly layers: readonly { readonly size: number; readonly tarSize: number }[];
}

/** The folder in which everything is kept between runs. */
export function cacheDirectory(): string {
  return join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kmm-sign', 'bench');
}

/** The registry's storage below the cache. */
export function storageDirectory(): string {
  return join(cacheDirectory(), 'storage');
}

/** Makes the images of these names, or finds them in the cache. */
export async function makeImages(names: readonly string[]): Promise<BenchImage[]> {
  const cache = cacheDirectory();
  await mkdir(join(cache, 'images'), { recursive: true });
  const images: BenchImage[] = [];
  for (const name of names) {
    const recipe = imageRecipes.find((candidate) => candidate.name === name);
    if (!recipe) throw new Error(`there is no image named ${name}`);
    const description = join(cache, 'images', `${name}.json`);
    if (!existsSync(description))
      await writeFile(description, JSON.stringify(await makeImage(recipe, cache)));
    images.push(JSON.parse(await readFile(description, 'utf8')) as BenchImage);
  }
  return images;
}

async function makeImage(recipe: ImageRecipe, cache: string): Promise<BenchImage> {
  const workshop = { cache, kernel: await chosenKernel(cache) };
  const layers: Layer[] = [];
  for (const name of recipe.layers) {
    process.stderr.write(`${recipe.name}: ${name}\n`);
    layers.push(await makeLayerOf(name, workshop));
  }
  await using registry = await startRegistry(storageDirectory());
  const repository = `bench/${recipe.name}`;
  await pushImage(registry.host, { recipe, repository, layers });
  return {
    name: recipe.name,
    repository,
    tag: 'unsigned',
    modules: layers.flatMap(({ modules }) => modules),
    layers: layers.map(({ size, tarSize }) => ({ size, tarSize })),
  };
}

/** The kernel's release is remembered, so that images made later hold the same modules. */
async function chosenKernel(cache: string): Promise<string> {
  const file = join(cache, 'kernel');
  if (!existsSync(file)) await writeFile(file, kernelRelease.replace(/-amd64$/, ''));
  return await readFile(file, 'utf8');
}

async function makeLayerOf(name: string, workshop: Workshop): Promise<Layer> {
  const recipe = layerRecipes.find((candidate) => candidate.name === name);
  if (!recipe) throw new Error(`there is no layer named ${name}`);
  return await makeLayer(recipe, workshop);
}

async function pushImage(
  host: string,
  image: { readonly recipe: ImageRecipe; readonly repository: string; readonly layers: readonly Layer[] },
): Promise<void> {
  const types = mediaTypes[image.recipe.mediaTypes];
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    created: '2023-11-14T22:13:20Z',
    config: { Env: ['PATH=/usr/bin:/bin'], Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: image.layers.map(({ diffId }) => diffId) },
    history: image.recipe.layers.map((name) => ({
      created: '2023-11-14T22:13:20Z',
      created_by: `COPY ${name} /`,
    })),
  });
  const configuration = {
    digest: `sha256:${createHash('sha256').update(config).digest('hex')}`,
    size: Buffer.byteLength(config),
    content: config,
  };
  for (const { digest, size, file } of image.layers) {
    await pushBlob(host, image.repository, { digest, size, content: { file } });
  }
  await pushBlob(host, image.repository, configuration);
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: { mediaType: types.config, digest: configuration.digest, size: configuration.size },
    layers: image.layers.map(({ digest, size }) => ({ mediaType: types.layer, digest, size })),
  };
  const body = JSON.stringify(manifest);
  await pushManifest(host, image.repository, { tag: 'unsigned', mediaType: types.manifest, body });
}

if (import.meta.main) {
  const asked = process.argv.slice(2);
  for (const { name, layers, modules } of await makeImages(
    asked.length > 0 ? asked : imageRecipes.map((r) => r.name),
  )) {
    const total = (key: 'size' | 'tarSize'): string =>
      (layers.reduce((sum, layer) => sum + layer[key], 0) / 1e6).toFixed(1);
    console.log(
      `${name}: ${layers.length} layers, ${total('size')} MB gzip, ${total('tarSize')} MB tar, ${modules.length} modules`,
    );
  }
}
