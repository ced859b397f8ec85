import { randomUUID } from 'node:crypto';
import { link, open, readFile, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createDirectory } from '../../shared/create-directory.ts';
import { digestAlgorithm, digestHex, type Digest } from '../model/digest.ts';

/**
 * The layout of the registry's storage below its root:
 *
 *     uploads/<id>                                    unfinished uploads; removed at start
 *     blobs/<algorithm>/<hex>                         each blob once
 *     repositories/<name>/_blobs/<algorithm>/<hex>    a hard link to the blob
 *     repositories/<name>/_manifests/<algorithm>/<hex>
 *     repositories/<name>/_tags/<tag>
 *     repositories/<name>/_referrers/<algorithm>/<hex of the subject>/<digest of the referrer>
 *
 * A file appears under its final name by a single rename or link, so a killed process leaves nothing
 * incomplete but files under uploads/. No component of a repository name begins with an underscore.
 */
export interface StorageLayout {
  readonly root: string;
  uploadFile(id: string): string;
  contentFile(digest: Digest): string;
  repositoryDirectory(repository: string): string;
  blobFile(repository: string, digest: Digest): string;
  manifestFile(repository: string, digest: Digest): string;
  tagDirectory(repository: string): string;
  referrerDirectory(repository: string, subject: Digest): string;
}

/** The top-level directories. */
export const storageDirectories = ['uploads', 'blobs', 'repositories'] as const;

function byDigest(directory: string, digest: Digest): string {
  return join(directory, digestAlgorithm(digest), digestHex(digest));
}

/** Returns the paths below a root. */
export function storageLayout(root: string): StorageLayout {
  const repositoryDirectory = (repository: string): string => join(root, 'repositories', repository);
  return {
    root,
    uploadFile: (id) => join(root, 'uploads', id),
    contentFile: (digest) => byDigest(join(root, 'blobs'), digest),
    repositoryDirectory,
    blobFile: (repository, digest) => byDigest(join(repositoryDirectory(repository), '_blobs'), digest),
    manifestFile: (repository, digest) =>
      byDigest(join(repositoryDirectory(repository), '_manifests'), digest),
    tagDirectory: (repository) => join(repositoryDirectory(repository), '_tags'),
    referrerDirectory: (repository, subject) =>
      byDigest(join(repositoryDirectory(repository), '_referrers'), subject),
  };
}

/** Writes a small file completely or not at all. */
export async function writeAtomically(
  layout: StorageLayout,
  path: string,
  content: Buffer | string,
): Promise<void> {
  const temporary = layout.uploadFile(randomUUID());
  try {
    await using handle = await open(temporary, 'wx');
    await handle.writeFile(content);
    await handle.datasync();
    await createDirectory(dirname(path));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Moves a finished upload into place as a blob of a repository; existing content is reused. */
export async function commitBlob(
  layout: StorageLayout,
  { upload, repository, digest }: { upload: string; repository: string; digest: Digest },
): Promise<void> {
  if (!(await linkBlob(layout, { repository, digest }))) {
    const content = layout.contentFile(digest);
    await createDirectory(dirname(content));
    // Link the repository first: content that no repository links to may be removed at any time.
    const path = layout.blobFile(repository, digest);
    const isNew = await linkFile(upload, path);
    try {
      await linkFile(upload, content);
    } catch (error) {
      if (isNew) await removeFile(path);
      throw error;
    }
  }
  await unlink(upload);
}

/** Adds a stored blob to a repository. Returns false if there is no such content. */
export async function linkBlob(
  layout: StorageLayout,
  { repository, digest }: { repository: string; digest: Digest },
): Promise<boolean> {
  const path = layout.blobFile(repository, digest);
  await createDirectory(dirname(path));
  return (await orMissing(linkFile(layout.contentFile(digest), path).then(() => true))) ?? false;
}

/**
 * Removes a blob from a repository, and from disk if no other repository has it. Returns false if it did not
 * exist.
 */
export async function unlinkBlob(
  layout: StorageLayout,
  { repository, digest }: { repository: string; digest: Digest },
): Promise<boolean> {
  if (!(await removeFile(layout.blobFile(repository, digest)))) return false;
  const content = layout.contentFile(digest);
  const links = await stat(content).then(
    ({ nlink }) => nlink,
    () => 0,
  );
  // A repository that links it at this moment keeps its bytes: they exist as long as any link.
  if (links === 1) await removeFile(content);
  return true;
}

/** Returns the size of a regular file in bytes; undefined if it does not exist. */
export async function fileSize(path: string): Promise<number | undefined> {
  return orMissing(stat(path).then((found) => (found.isFile() ? found.size : undefined)));
}

/** Returns the content of a small file; undefined if it does not exist. */
export async function readSmallFile(path: string): Promise<Buffer | undefined> {
  return orMissing(readFile(path));
}

/** Returns the names in a directory; none if it does not exist. */
export async function listDirectory(path: string): Promise<string[]> {
  return (await orMissing(readdir(path))) ?? [];
}

/** Removes a file. Returns false if it did not exist. */
export async function removeFile(path: string): Promise<boolean> {
  return (await orMissing(unlink(path).then(() => true))) ?? false;
}

/** Tells whether an error is the system error with that code. */
export function isFileError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Creates a hard link; an existing one has the same content. Tells whether it is new. */
async function linkFile(existing: string, path: string): Promise<boolean> {
  try {
    await link(existing, path);
    return true;
  } catch (error) {
    if (!isFileError(error, 'EEXIST')) throw error;
    return false;
  }
}

async function orMissing<Result>(promise: Promise<Result>): Promise<Result | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isFileError(error, 'ENOENT') || isFileError(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}
