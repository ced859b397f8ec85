import { digestOf, isDigest, type Digest } from '../model/digest.ts';
import { type Descriptor, type ImageManifest, parsePlatformObject } from '../model/manifest.ts';
import {
  checkSpelling,
  invalidManifest,
  isJsonObject,
  parseJsonObject,
  serializeJson,
  withoutFields,
  type JsonObject,
} from '../model/json.ts';
import type { Platform } from '../model/platform.ts';
import { readBlob, type ImageRepository, type OperationOptions } from './repository.ts';

const knownFields = ['architecture', 'os', 'os.version', 'variant', 'config', 'rootfs', 'history'];

/** An image's configuration (image-spec, config.md). */
export interface ImageConfig {
  readonly mediaType: string;
  /** The platform stated by the configuration; undefined if it states none. */
  readonly platform: Platform | undefined;
  /** Digests of the uncompressed layers, base first. */
  readonly diffIds: readonly Digest[];
  /** The parsed JSON, for rewriting with all unknown fields kept. Must not be modified in place. */
  readonly json: JsonObject;
}

/** The changes to a configuration. */
export interface ConfigChanges {
  /** All of them, base first. */
  readonly diffIds: readonly string[];
  /** The history entry of the layer added on top. `created` is in seconds since the epoch. */
  readonly appended?: { readonly createdBy: string; readonly created: number } | undefined;
  /** Labels to add. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Names of labels to remove. */
  readonly dropLabels?: readonly string[] | undefined;
}

/** A configuration ready to be stored. */
export interface WrittenConfig {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/**
 * Reads and parses the configuration of an image.
 * @throws RegistryError INVALID_MANIFEST, BLOB_NOT_FOUND, DIGEST_MISMATCH
 */
export async function readImageConfig(
  repository: ImageRepository,
  manifest: ImageManifest,
  options: OperationOptions = {},
): Promise<ImageConfig> {
  return parseImageConfig(await readBlob(repository, manifest.config, options), manifest);
}

/**
 * Parses a configuration; it must have as many diff IDs as the manifest has layers.
 * @throws RegistryError INVALID_MANIFEST
 */
export function parseImageConfig(
  bytes: Buffer,
  { config, layers }: Pick<ImageManifest, 'config' | 'layers'>,
): ImageConfig {
  const what = `the configuration ${config.digest}`;
  const json = parseJsonObject(bytes, what);
  checkSpelling(json, knownFields, what);
  const diffIds = parseDiffIds(json['rootfs'], what);
  if (diffIds.length !== layers.length) {
    throw invalidManifest(`${what} lists ${diffIds.length} layers but the manifest has ${layers.length}`);
  }
  return { mediaType: config.mediaType, platform: platformOfConfig(json, what), diffIds, json };
}

/**
 * Returns the platform that a configuration states; undefined if it names neither an operating system nor an
 * architecture.
 */
function platformOfConfig(json: JsonObject, what = 'the configuration'): Platform | undefined {
  const { os, architecture, variant } = json;
  return parsePlatformObject({ os, architecture, variant, 'os.version': json['os.version'] }, what);
}

/** Returns the labels of a configuration, without values that are not strings. */
export function labelsOf({ json }: ImageConfig): Record<string, string> {
  const config = isJsonObject(json['config']) ? json['config'] : {};
  const labels = isJsonObject(config['Labels']) ? config['Labels'] : {};
  return Object.fromEntries(
    Object.entries(labels).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** Rewrites a configuration with other layers; all other fields, including unknown ones, are kept. */
export function updateImageConfig(
  config: ImageConfig,
  { diffIds, appended, labels = {}, dropLabels = [] }: ConfigChanges,
): WrittenConfig {
  const { json } = config;
  const rootfs = isJsonObject(json['rootfs']) ? json['rootfs'] : { type: 'layers' };
  const bytes = serializeJson({
    ...json,
    rootfs: { ...rootfs, diff_ids: diffIds },
    ...(appended === undefined ? {} : historyWith(json, appended)),
    ...(Object.keys(labels).length + dropLabels.length === 0
      ? {}
      : { config: configWithLabels(json, labels, dropLabels) }),
  });
  return { descriptor: { mediaType: config.mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}

/**
 * Appends to the history. A missing one stays missing: a single entry would be taken for that of the base
 * layer.
 */
function historyWith(json: JsonObject, appended: { createdBy: string; created: number }): JsonObject {
  const { history } = json;
  if (!Array.isArray(history) || history.length === 0) return {};
  const created = new Date(appended.created * 1000).toISOString().replace('.000Z', 'Z');
  return { history: [...history, { created, created_by: appended.createdBy }] };
}

function configWithLabels(
  json: JsonObject,
  labels: Readonly<Record<string, string>>,
  drop: readonly string[],
): JsonObject {
  const config = isJsonObject(json['config']) ? json['config'] : {};
  const present = isJsonObject(config['Labels']) ? config['Labels'] : {};
  return { ...config, Labels: { ...withoutFields(present, drop), ...labels } };
}

function parseDiffIds(rootfs: unknown, what: string): Digest[] {
  if (!isJsonObject(rootfs)) throw invalidManifest(`${what} has no "rootfs"`);
  checkSpelling(rootfs, ['type', 'diff_ids'], `"rootfs" of ${what}`);
  const list: unknown = rootfs['diff_ids'] ?? [];
  if (!Array.isArray(list)) throw invalidManifest(`${what} has no list of diff IDs`);
  return list.map((diffId: unknown) => {
    if (typeof diffId !== 'string' || !isDigest(diffId))
      throw invalidManifest(`${what} has a diff ID that is not a digest`);
    return diffId;
  });
}
