import { lstat, opendir, readFile, readdir, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createDirectory } from '../../shared/create-directory.ts';
import { FileLockError, tryFileLock, type FileLock } from '../../shared/file-lock.ts';
import { isDigest } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import { isRepositoryName, isTag } from './route.ts';
import { isFileError, storageDirectories, type StorageLayout } from './storage.ts';

/** Marks a directory as the root of an embedded registry. */
const markerFile = 'kmm-sign-registry.json';
const markerDraft = `${markerFile}.new`;
const marker = JSON.stringify({ format: 'kmm-sign registry', version: 1 });

/** Locked while a registry serves the directory. */
const lockFile = '.kmm-sign-registry.lock';

/** What a directory may contain and still count as empty; ext4 creates the last one. */
const ignoredNames: ReadonlySet<string> = new Set([markerDraft, lockFile, 'lost+found']);

const uploadName = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Opens a directory as the root of a registry: creates, marks and locks it, and removes unfinished uploads of
 * an earlier run. A root created by a version without the marker is adopted. Returns the lock.
 * @throws RegistryError INVALID_CONFIGURATION for a directory with other content, IN_USE
 */
export async function openStorageRoot(layout: StorageLayout): Promise<FileLock> {
  const { root } = layout;
  try {
    await createDirectory(root);
    const marked = await checkContents(root);
    const lock = await lockRoot(root);
    try {
      if (!marked) await writeMarker(root);
      for (const directory of storageDirectories) await createDirectory(join(root, directory));
      await removeUploads(layout);
      return lock;
    } catch (error) {
      lock.release();
      throw error;
    }
  } catch (error) {
    throw error instanceof RegistryError ? error : cannotUse(root, error);
  }
}

/**
 * Tells whether the directory has the marker.
 * @throws RegistryError INVALID_CONFIGURATION if it must not be used
 */
async function checkContents(root: string): Promise<boolean> {
  const names = await readdir(root);
  if (names.includes(markerFile)) {
    const text = await readFile(join(root, markerFile), 'utf8');
    if (text === marker) return true;
    throw refused(
      root,
      `${markerFile} in ${root} belongs to another version`,
      'Use the version of kmm-sign that created the directory, or name another directory.',
    );
  }
  const others = names.filter((name) => !ignoredNames.has(name));
  if (others.length === 0) return false;
  // Versions without the marker created all their directories at every start.
  const complete = storageDirectories.every((name) => others.includes(name));
  const foreign = complete
    ? await findForeign(root, others)
    : others.find((name) => !isStorageDirectory(name));
  if (complete && foreign === undefined) return false;
  throw refused(
    root,
    `${root} is not the directory of a registry: it contains ${foreign ?? others.join(', ')}`,
    'Name a directory that is empty or does not exist yet, or one that kmm-sign registry has used before.',
  );
}

function isStorageDirectory(name: string): boolean {
  return storageDirectories.some((directory) => directory === name);
}

/** Returns the first path under the root, relative to it, that a registry does not create. */
async function findForeign(root: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) {
    if (!isStorageDirectory(name) || !(await lstat(join(root, name))).isDirectory()) return name;
    const foreign = await findForeignFile(root, name);
    if (foreign !== undefined) return foreign;
  }
  return undefined;
}

async function findForeignFile(root: string, directory: string): Promise<string | undefined> {
  for await (const entry of await opendir(join(root, directory))) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) {
      const foreign = await findForeignFile(root, path);
      if (foreign !== undefined) return foreign;
    } else if (!entry.isFile() || !isStored(path)) return path;
  }
  return undefined;
}

/** Tells whether a path is one of those described by StorageLayout. */
function isStored(path: string): boolean {
  const [directory, ...parts] = path.split('/');
  if (directory === 'uploads') return parts.length === 1 && uploadName.test(parts[0] ?? '');
  if (directory === 'blobs') return isDigest(parts.join(':'));
  const at = parts.findIndex((part) => part.startsWith('_'));
  const [kind = '', ...rest] = parts.slice(at);
  if (at === -1 || !isRepositoryName(parts.slice(0, at).join('/'))) return false;
  switch (kind) {
    case '_blobs':
    case '_manifests':
      return isDigest(rest.join(':'));
    case '_tags':
      return rest.length === 1 && isTag(rest[0] ?? '');
    case '_referrers':
      return isDigest(rest.slice(0, -1).join(':')) && isDigest(rest.at(-1) ?? '');
    default:
      return false;
  }
}

async function lockRoot(root: string): Promise<FileLock> {
  const path = join(root, lockFile);
  const status = await lstat(path).catch(() => undefined);
  const usable = status === undefined || (status.isFile() && status.size === 0);
  if (!usable) throw refused(root, `${path} is not an empty file`, 'Remove it, or name another directory.');
  const lock = tryFileLock(path);
  if (lock !== undefined) return lock;
  throw new RegistryError({
    code: 'IN_USE',
    message: `Another registry is using ${root}`,
    hint: 'Stop it, or name another directory.',
    facts: { path: root },
  });
}

async function writeMarker(root: string): Promise<void> {
  await writeFile(join(root, markerDraft), marker);
  await rename(join(root, markerDraft), join(root, markerFile));
}

/** Removes the uploads of an earlier run, and nothing else. */
async function removeUploads(layout: StorageLayout): Promise<void> {
  for (const entry of await readdir(join(layout.root, 'uploads'), { withFileTypes: true })) {
    if (!entry.isFile() || !uploadName.test(entry.name)) continue;
    await unlink(layout.uploadFile(entry.name)).catch((error: unknown) => {
      if (!isFileError(error, 'ENOENT')) throw error;
    });
  }
}

function refused(root: string, message: string, hint: string): RegistryError {
  return new RegistryError({ code: 'INVALID_CONFIGURATION', message, hint, facts: { path: root } });
}

function cannotUse(root: string, error: unknown): RegistryError {
  const reason = error instanceof Error ? error.message : String(error);
  const hint = error instanceof FileLockError ? error.hint : 'Name a writable directory.';
  return refused(root, `The registry cannot store its files in ${root}: ${reason}`, hint ?? '');
}
