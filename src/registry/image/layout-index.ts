import { digestOf, type Digest } from '../digest.ts';
import type { ChildDescriptor, Descriptor, ImageIndex, JsonObject, RawManifest } from '../manifest.ts';
import { isJsonObject, maxManifestSize, parseJsonObject, serializeJson } from '../manifest/json.ts';
import { parseManifest } from '../manifest/parse-manifest.ts';
import { ociMediaTypes } from '../media-types.ts';
import { isMissing, isVacant, layoutError, readLayoutFile, writeLayoutFile } from './layout-files.ts';

/** The annotation that holds a tag (image-spec, annotations.md). */
const refName = 'org.opencontainers.image.ref.name';

const markerFile = 'oci-layout';
const indexFile = 'index.json';
const layoutVersion = '1.0.0';

/** Bytes of the largest `oci-layout` file that is read. */
const maxMarkerSize = 64 * 1024;

const emptyIndex: JsonObject = { schemaVersion: 2, mediaType: ociMediaTypes.index, manifests: [] };

/** The tag of an entry. */
export function tagOf({ annotations }: Descriptor): string | undefined {
  return annotations?.[refName];
}

/**
 * Reads a layout's index.json (image-spec, image-layout.md).
 * @throws RegistryError NOT_FOUND when there is no layout, INVALID_MANIFEST, UNSUPPORTED_MEDIA_TYPE
 */
export async function readLayoutIndex(directory: string): Promise<ImageIndex> {
  await checkMarker(directory);
  return parseLayoutIndex(await readFileOf(directory, indexFile, maxManifestSize), directory);
}

/** Makes a layout in a directory that is missing or empty; checks what is there otherwise. */
export async function createLayout(directory: string): Promise<void> {
  if (!(await isVacant(directory))) return checkMarker(directory);
  // The index first: without the marker a directory is no layout, so a half-made one is never taken for one.
  await writeJson(directory, indexFile, emptyIndex);
  await writeJson(directory, markerFile, { imageLayoutVersion: layoutVersion });
}

/**
 * Names a manifest in the index. A tag is taken from the entry that had it. Entries without a tag for the
 * same manifest, or for its children, go: index.json lists what stands by itself.
 */
export async function addToIndex(
  directory: string,
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
  const covered = (entry: ChildDescriptor): boolean =>
    tagOf(entry) === undefined ? entry.digest === digest || children.has(entry.digest) : tagOf(entry) === tag;
  const added = {
    mediaType,
    digest,
    size: bytes.length,
    ...(tag === undefined ? {} : { annotations: { [refName]: tag } }),
  };
  await writeEntries(directory, index, (entry) => !covered(entry), [added]);
}

/** Takes every entry of a manifest out of the index. */
export async function removeFromIndex(directory: string, digest: Digest): Promise<void> {
  const index = await readLayoutIndex(directory);
  if (!index.manifests.some((entry) => entry.digest === digest)) return;
  await writeEntries(directory, index, (entry) => entry.digest !== digest, []);
}

function writeEntries(
  directory: string,
  { json, manifests }: ImageIndex,
  keep: (entry: ChildDescriptor) => boolean,
  added: readonly JsonObject[],
): Promise<void> {
  const entries = Array.isArray(json['manifests']) ? json['manifests'].filter(isJsonObject) : [];
  const kept = entries.filter((_, at) => {
    const entry = manifests[at];
    return entry !== undefined && keep(entry);
  });
  return writeJson(directory, indexFile, { ...json, manifests: [...kept, ...added] });
}

function writeJson(directory: string, path: string, json: JsonObject): Promise<void> {
  return writeLayoutFile(directory, path, (file) => file.writeFile(serializeJson(json)));
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
    const hint = 'Name a directory that holds an OCI layout, or one that does not exist yet to write to.';
    throw layoutError('NOT_FOUND', directory, `there is no OCI layout (${path} is missing)`, hint);
  }
}
