/** Makes layers: a directory becomes a gzip compressed tar, as `docker build` would write it. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { bareSystem, once, unpackPackages } from './debian.ts';
import { listModules, pickModules, withoutSignature } from './kernel-modules.ts';
import { layerRecipes, type LayerRecipe } from './recipes.ts';

const megabyte = 1_000_000;
/** How much of the firmware does not compress at all. */
const denseShare = 0.8;
const pieceSize = 1024 * 1024;

export interface Layer {
  /** The compressed tar. */
  readonly file: string;
  readonly digest: string;
  readonly size: number;
  readonly diffId: string;
  readonly tarSize: number;
  /** Absolute paths of the modules in it. */
  readonly modules: readonly string[];
}

export interface Workshop {
  /** Where everything is kept. */
  readonly cache: string;
  /** Kernel release, such as "6.1.0-56". */
  readonly kernel: string;
}

/** Makes the layer of a recipe, or finds it in the cache. */
export async function makeLayer(recipe: LayerRecipe, workshop: Workshop): Promise<Layer> {
  const directory = join(workshop.cache, 'layers');
  const description = join(directory, `${recipe.name}.json`);
  if (!existsSync(description)) {
    await mkdir(directory, { recursive: true });
    const file = join(directory, `${recipe.name}.tar.gz`);
    const modules = await packRecipe(recipe, workshop, file);
    await writeFile(description, JSON.stringify({ file, ...(await describe(file)), modules }));
  }
  return JSON.parse(await readFile(description, 'utf8')) as Layer;
}

async function packRecipe(recipe: LayerRecipe, workshop: Workshop, file: string): Promise<string[]> {
  const content = join(workshop.cache, 'content', recipe.name);
  await rm(content, { recursive: true, force: true });
  await mkdir(dirname(content), { recursive: true });
  const modules = await fill(content, recipe, workshop);
  await packDirectory(content, file, recipe.times?.count ?? 1);
  await rm(content, { recursive: true, force: true });
  return modules;
}

async function fill(directory: string, recipe: LayerRecipe, workshop: Workshop): Promise<string[]> {
  await mkdir(directory, { recursive: true });
  if (recipe.debootstrap) await bareSystem(directory);
  if (recipe.times) await unpackLayer(await makeLayer(named(recipe.times.layer), workshop), directory);
  if (recipe.packages) {
    await unpackPackages(
      recipe.packages.map((name) => name.replace('{kernel}', workshop.kernel)),
      directory,
    );
  }
  if (recipe.firmware) await writeFirmware(directory, recipe.firmware);
  if (recipe.configuration) await writeConfiguration(directory);
  return recipe.modules ? await copyModules(directory, recipe.modules, workshop) : [];
}

async function writeFirmware(directory: string, megabytes: number): Promise<void> {
  const folder = join(directory, 'lib/firmware/vendor');
  await mkdir(folder, { recursive: true });
  for (let index = 0; index < megabytes; index += 1) {
    const dense = Math.floor(megabyte * denseShare);
    const blob = Buffer.concat([randomBytes(dense), Buffer.alloc(megabyte - dense, `blob ${index} `)]);
    await writeFile(join(folder, `blob-${index}.bin`), blob);
  }
}

async function writeConfiguration(directory: string): Promise<void> {
  await mkdir(join(directory, 'etc/vendor'), { recursive: true });
  for (const name of ['driver', 'network', 'telemetry']) {
    await writeFile(join(directory, 'etc/vendor', `${name}.conf`), `# ${name}\nenabled = true\n`);
  }
}

async function copyModules(
  directory: string,
  wanted: NonNullable<LayerRecipe['modules']>,
  workshop: Workshop,
): Promise<string[]> {
  const kernel = await once(join(workshop.cache, `linux-image-${workshop.kernel}`), (unfinished) =>
    unpackPackages([`linux-image-${workshop.kernel}-amd64`], unfinished),
  );
  const picked = pickModules(await listModules(kernel), {
    count: wanted.count,
    bytes: wanted.megabytes * megabyte,
    spread: wanted.spread ?? false,
  });
  for (const { path } of picked) {
    const target = join(directory, 'opt', path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, withoutSignature(await readFile(join(kernel, path))));
  }
  return picked.map(({ path }) => `/opt/${path}`);
}

function named(name: string): LayerRecipe {
  const recipe = layerRecipes.find((candidate) => candidate.name === name);
  if (!recipe) throw new Error(`there is no layer named ${name}`);
  return recipe;
}

async function unpackLayer({ file }: Layer, directory: string): Promise<void> {
  await succeeded(spawn('tar', ['--extract', '--gzip', '--file', file, '--directory', directory]), 'tar');
}

/** Packs a directory; `copies` above 1 writes all its entries that often, at a faster level. */
async function packDirectory(directory: string, file: string, copies: number): Promise<void> {
  const content = ['--directory', directory, ...(await readdir(directory)).toSorted()];
  const archive = spawn('tar', [
    '--create',
    '--sort=name',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mtime=@1700000000',
    // Otherwise a file that is packed again becomes a hard link to its first copy.
    ...(copies > 1 ? ['--hard-dereference'] : []),
    ...Array.from({ length: copies }, () => content).flat(),
  ]);
  const packer = spawn('gzip', [copies > 1 ? '-1' : '-6', '--no-name']);
  const unfinished = `${file}.unfinished`;
  await Promise.all([
    pipeline(archive.stdout, packer.stdin),
    pipeline(packer.stdout, createWriteStream(unfinished)),
    succeeded(archive, 'tar'),
    succeeded(packer, 'gzip'),
  ]);
  await rename(unfinished, file);
}

function succeeded(child: ReturnType<typeof spawn>, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stderr?.pipe(process.stderr);
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(`${name} ended with ${code}`))));
  });
}

async function describe(file: string): Promise<Omit<Layer, 'file' | 'modules'>> {
  const compressed = createHash('sha256');
  const raw = createHash('sha256');
  let tarSize = 0;
  const tap = new PassThrough();
  tap.on('data', (piece: Buffer) => compressed.update(piece));
  await pipeline(
    createReadStream(file, { highWaterMark: pieceSize }),
    tap,
    createGunzip({ chunkSize: pieceSize }),
    async (pieces) => {
      for await (const piece of pieces as AsyncIterable<Buffer>) {
        raw.update(piece);
        tarSize += piece.length;
      }
    },
  );
  const { size } = await stat(file);
  return {
    digest: `sha256:${compressed.digest('hex')}`,
    size,
    diffId: `sha256:${raw.digest('hex')}`,
    tarSize,
  };
}
