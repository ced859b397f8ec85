import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOf, type Digest } from '../model/digest.ts';
import type { ChildDescriptor, Descriptor, ImageIndex, RawManifest } from '../model/manifest.ts';
import {
  isJsonObject,
  maxManifestSize,
  parseJsonObject,
  serializeJson,
  type JsonObject,
} from '../model/json.ts';
import { parseManifest } from '../model/parse-manifest.ts';
import { ociMediaTypes } from '../model/media-types.ts';
import {
  isMissing,
  layoutError,
  makeDirectory,
  readLayoutFile,
  isWorkingFile,
  withLayoutMutex,
  withStaging,
  type WriteLayoutFile,
} from './layout-files.ts';

/** The annotation that contains the tag (image-spec, annotations.md). */
const refName = 'org.opencontainers.image.ref.name';

const markerFile = 'oci-layout';
const indexFile = 'index.json';
const blobDirectory = 'blobs';
const recursively = { recursive: true, withFileTypes: true } as const;
const layoutVersion = '1.0.0';

/** The largest `oci-layout` file that is read, in bytes. */
const maxMarkerSize = 64 * 1024;

const emptyIndex: JsonObject = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests: [] };

/** Returns the tag of an entry. */
export function tagOf({ annotations }: Descriptor): string | undefined {
  return annotations?.[refName];
}

/**
 * Reads a layout's index.json (image-spec, image-layout.md).
 * @throws RegistryError NOT_FOUND if there is no layout, INVALID_MANIFEST, UNSUPPORTED_MEDIA_TYPE
 */
export async function readLayoutIndex(directory: string): Promise<ImageIndex> {
  await checkMarker(directory);
  return parseLayoutIndex(await readFileOf(directory, indexFile, maxManifestSize), directory);
}

/**
 * Ensures that there is a layout to write to: creates one in a directory that is missing or empty, and checks
 * any existing content.
 * @throws RegistryError INVALID_REFERENCE for a directory with other files
 */
export async function ensureLayout(directory: string, signal: AbortSignal | undefined): Promise<void> {
  if (!(await needsLayout(directory))) return;
  await withStaging(directory, signal, (write) =>
    withLayoutMutex(directory, signal, async () => {
      // Another process may have created it in the meantime.
      if (!(await needsLayout(directory))) return;
      await makeDirectory(directory, join(blobDirectory, 'sha256'));
      // The marker comes last: without it, a directory is not a layout, so an incomplete one is never taken
      // for one.
      await writeJson(write, indexFile, emptyIndex);
      await writeJson(write, markerFile, { imageLayoutVersion: layoutVersion });
    }),
  );
}

/** Tells whether a layout has yet to be created. */
async function needsLayout(directory: string): Promise<boolean> {
  const names = (await namesIn(directory)).filter((name) => !isWorkingFile(name));
  if (names.includes(markerFile)) {
    await checkMarker(directory);
    return false;
  }
  if (await isIncomplete(directory, names)) return true;
  const hint = 'Name an OCI layout, or a directory that is empty or does not exist yet.';
  throw layoutError(
    'INVALID_REFERENCE',
    directory,
    `the directory contains other files and is not an OCI layout (${markerFile} is missing)`,
    hint,
  );
}

/**
 * Tells whether a directory contains nothing but what a process killed before writing the marker may have
 * left.
 */
async function isIncomplete(directory: string, names: readonly string[]): Promise<boolean> {
  if (names.some((name) => name !== indexFile && name !== blobDirectory)) return false;
  if (names.includes(indexFile)) {
    const index = await readFileOf(directory, indexFile, maxManifestSize);
    if (!index.equals(serializeJson(emptyIndex))) return false;
  }
  const blobs = names.includes(blobDirectory)
    ? await readdir(join(directory, blobDirectory), recursively)
    : [];
  return blobs.every((entry) => entry.isDirectory());
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/** A layout whose index.json may be changed. */
export interface WritableIndex {
  readonly directory: string;
  readonly write: WriteLayoutFile;
}

/**
 * Adds a manifest to the index. A tag moves from the entry that had it. Untagged entries for the same
 * manifest, or for its children, are removed: index.json only lists manifests that stand by themselves. The
 * caller must hold the mutex.
 */
export async function addToIndex(
  { directory, write }: WritableIndex,
  manifest: RawManifest,
  tag: string | undefined,
): Promise<void> {
  const index = await readLayoutIndex(directory);
  const { mediaType, digest, bytes } = manifest;
  const present = index.manifests.some((entry) => entry.digest === digest);
  if (tag === undefined && present) return;
  const parsed = parseManifest(manifest);
  const children = new Set<Digest>(
    parsed.kind === 'index' ? parsed.manifests.map((child) => child.digest) : [],
  );
  const isReplaced = (entry: ChildDescriptor): boolean =>
    tagOf(entry) === undefined ? entry.digest === digest || children.has(entry.digest) : tagOf(entry) === tag;
  const added = {
    mediaType,
    digest,
    size: bytes.length,
    ...(tag === undefined ? {} : { annotations: { [refName]: tag } }),
  };
  await writeEntries(write, index, (entry) => !isReplaced(entry), [added]);
}

/** Removes all entries of a manifest from the index. The caller must hold the mutex. */
export async function removeFromIndex({ directory, write }: WritableIndex, digest: Digest): Promise<void> {
  const index = await readLayoutIndex(directory);
  if (!index.manifests.some((entry) => entry.digest === digest)) return;
  await writeEntries(write, index, (entry) => entry.digest !== digest, []);
}

function writeEntries(
  write: WriteLayoutFile,
  { json, manifests }: ImageIndex,
  remains: (entry: ChildDescriptor) => boolean,
  added: readonly JsonObject[],
): Promise<void> {
  const entries = Array.isArray(json['manifests']) ? json['manifests'].filter(isJsonObject) : [];
  const remaining = entries.filter((_, at) => {
    const entry = manifests[at];
    return entry !== undefined && remains(entry);
  });
  return writeJson(write, indexFile, { ...json, manifests: [...remaining, ...added] });
}

function writeJson(write: WriteLayoutFile, path: string, json: JsonObject): Promise<void> {
  return write(path, (file) => file.writeFile(serializeJson(json)));
}

function parseLayoutIndex(bytes: Buffer, directory: string): ImageIndex {
  const parsed = parseManifest({ mediaType: '', digest: digestOf(bytes), bytes });
  if (parsed.kind === 'index') return parsed;
  throw layoutError('INVALID_MANIFEST', directory, 'index.json is not an index');
}

async function checkMarker(directory: string): Promise<void> {
  const marker = parseJsonObject(
    await readFileOf(directory, markerFile, maxMarkerSize),
    `oci:${directory}: ${markerFile}`,
  );
  if (marker['imageLayoutVersion'] !== layoutVersion) {
    throw layoutError(
      'UNSUPPORTED_MEDIA_TYPE',
      directory,
      `the version of the layout is not ${layoutVersion}`,
    );
  }
}

async function readFileOf(directory: string, path: string, limit: number): Promise<Buffer> {
  try {
    return await readLayoutFile(directory, path, limit);
  } catch (error) {
    if (!isMissing(error)) throw error;
    const hint = 'Name a directory that contains an OCI layout, or one that does not exist yet to write to.';
    throw layoutError('NOT_FOUND', directory, `there is no OCI layout (${path} is missing)`, hint);
  }
}
