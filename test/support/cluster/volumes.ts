import { chmod, mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type {
  V1Container,
  V1DownwardAPIVolumeFile,
  V1KeyToPath,
  V1PodSpec,
  V1Volume,
  V1VolumeProjection,
} from '@kubernetes/client-node';
import type { BindMount } from './container.ts';
import { MissingReference, type References } from './references.ts';

/** Where volumes are and where their files come from. */
export interface VolumeOptions {
  /** An empty directory for the pod's volumes. */
  readonly folder: string;
  /** The directory used as `/` of the node. */
  readonly nodeRoot: string;
  readonly references: References;
}

/** Sets up all volumes of a pod and returns their paths. @throws MissingReference */
export async function layOutVolumes(
  { volumes = [] }: V1PodSpec,
  options: VolumeOptions,
): Promise<ReadonlyMap<string, string>> {
  const paths = new Map<string, string>();
  for (const volume of volumes) paths.set(volume.name, await layOut(volume, options));
  return paths;
}

/** Returns the mounts of a container. */
export function mountsOf(container: V1Container, volumes: ReadonlyMap<string, string>): BindMount[] {
  return (container.volumeMounts ?? []).map(({ name, mountPath, subPath, readOnly }) => {
    const path = volumes.get(name);
    if (path === undefined) throw new Error(`the pod has no volume ${name}`);
    return {
      source: subPath === undefined ? path : join(path, subPath),
      target: mountPath,
      readOnly: readOnly === true,
    };
  });
}

async function layOut(volume: V1Volume, { folder, nodeRoot, references }: VolumeOptions): Promise<string> {
  const path = join(folder, volume.name);
  const { secret, configMap, downwardAPI, projected, hostPath } = volume;
  if (hostPath !== undefined) return hostFolder(join(nodeRoot, hostPath.path), hostPath.type ?? '');
  await mkdir(path, { recursive: true });
  // An emptyDir is writable for all users.
  await chmod(path, 0o777);
  if (secret !== undefined) {
    const files = await references.secret(secret.secretName ?? '', secret.optional);
    await write(path, select(files, secret), secret.defaultMode);
  } else if (configMap !== undefined) {
    const files = await references.configMap(configMap.name ?? '', configMap.optional);
    await write(path, select(files, configMap), configMap.defaultMode);
  } else if (downwardAPI !== undefined) {
    await write(path, fieldFiles(downwardAPI.items, references), downwardAPI.defaultMode);
  } else if (projected !== undefined) {
    for (const source of projected.sources ?? []) {
      await write(path, await projection(source, references), projected.defaultMode);
    }
  } else if (volume.emptyDir === undefined) {
    throw new Error(`the volume ${volume.name} is of a kind that the kubelet of the tests does not know`);
  }
  return path;
}

async function projection(source: V1VolumeProjection, references: References): Promise<File[]> {
  const { secret, configMap, downwardAPI } = source;
  if (secret !== undefined) {
    return select(await references.secret(secret.name ?? '', secret.optional), secret);
  }
  if (configMap !== undefined) {
    return select(await references.configMap(configMap.name ?? '', configMap.optional), configMap);
  }
  if (downwardAPI !== undefined) return fieldFiles(downwardAPI.items, references);
  throw new Error('the projection is of a kind that the kubelet of the tests does not know');
}

interface File {
  readonly path: string;
  readonly content: Buffer | string;
  readonly mode: number | undefined;
}

/** Selects the listed items, or all. */
function select(
  files: ReadonlyMap<string, Buffer> | undefined,
  { items, optional }: { items?: readonly V1KeyToPath[]; optional?: boolean },
): File[] {
  if (files === undefined) return [];
  if (items === undefined)
    return Array.from(files, ([path, content]) => ({ path, content, mode: undefined }));
  return items.flatMap(({ key, path, mode }) => {
    const content = files.get(key);
    if (content !== undefined) return [{ path, content, mode }];
    if (optional === true) return [];
    throw new MissingReference(`references non-existent key: ${key}`);
  });
}

function fieldFiles(items: readonly V1DownwardAPIVolumeFile[] = [], references: References): File[] {
  return items.map(({ path, fieldRef, mode }) => {
    if (fieldRef === undefined) throw new Error(`the item ${path} names no field`);
    return { path, content: references.field(fieldRef), mode };
  });
}

async function write(folder: string, files: readonly File[], defaultMode = 0o644): Promise<void> {
  for (const { path, content, mode = defaultMode } of files) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    await chmod(file, mode);
  }
}

/** Returns a directory of the node. @throws MissingReference if it must exist and does not */
async function hostFolder(path: string, type: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() === true && type !== 'Directory') return path;
  const isDirectory = found?.isDirectory() === true;
  if (type === 'Directory' && !isDirectory)
    throw new MissingReference(`hostPath type check failed: ${path} is not a directory`);
  if (!isDirectory) await mkdir(path, { recursive: true });
  return path;
}
