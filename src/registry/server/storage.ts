import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { digestAlgorithm, digestHex, type Digest } from '../model/digest.ts';

/**
 * Where everything lies under the registry's root:
 *
 *     uploads/<id>                                    bytes on their way in; emptied at start
 *     blobs/<algorithm>/<hex>                         every blob once
 *     repositories/<name>/_blobs/<algorithm>/<hex>    a hard link to the blob
 *     repositories/<name>/_manifests/<algorithm>/<hex>
 *     repositories/<name>/_tags/<tag>
 *     repositories/<name>/_referrers/<algorithm>/<hex of the subject>/<digest of the referrer>
 *
 * A file appears under its final name by one rename or link, so a process that is killed leaves nothing half
 * made but files under uploads/. Names of repositories have no part that begins with an underscore.
 */
export interface StorageLayout {
  readonly root: string;
  uploadFile(id: string): string;
  contentFile(digest: Digest): string;
  repositoryFolder(repository: string): string;
  blobFile(repository: string, digest: Digest): string;
  manifestFile(repository: string, digest: Digest): string;
  tagFolder(repository: string): string;
  referrerFolder(repository: string, subject: Digest): string;
}

/** The folders at the top. */
export const storageFolders = ['uploads', 'blobs', 'repositories'] as const;

function byDigest(folder: string, digest: Digest): string {
  return join(folder, digestAlgorithm(digest), digestHex(digest));
}

/** The paths under one root. */
export function storageLayout(root: string): StorageLayout {
  const repositoryFolder = (repository: string): string => join(root, 'repositories', repository);
  return {
    root,
    uploadFile: (id) => join(root, 'uploads', id),
    contentFile: (digest) => byDigest(join(root, 'blobs'), digest),
    repositoryFolder,
    blobFile: (repository, digest) => byDigest(join(repositoryFolder(repository), '_blobs'), digest),
    manifestFile: (repository, digest) => byDigest(join(repositoryFolder(repository), '_manifests'), digest),
    tagFolder: (repository) => join(repositoryFolder(repository), '_tags'),
    referrerFolder: (repository, subject) =>
      byDigest(join(repositoryFolder(repository), '_referrers'), subject),
  };
}

/** Writes a small file whole or not at all. */
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
    await mkdir(dirname(path), { recursive: true });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Puts a finished upload in its place as a blob of a repository; content that is there already is used. */
export async function commitBlob(
  layout: StorageLayout,
  { upload, repository, digest }: { upload: string; repository: string; digest: Digest },
): Promise<void> {
  if (!(await linkBlob(layout, { repository, digest }))) {
    const content = layout.contentFile(digest);
    await mkdir(dirname(content), { recursive: true });
    // The repository first: content that no repository links may be removed at any time.
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

/** Makes a stored blob part of a repository. False: there is no such content. */
export async function linkBlob(
  layout: StorageLayout,
  { repository, digest }: { repository: string; digest: Digest },
): Promise<boolean> {
  const path = layout.blobFile(repository, digest);
  await mkdir(dirname(path), { recursive: true });
  return (await orMissing(linkFile(layout.contentFile(digest), path).then(() => true))) ?? false;
}

/** Takes a blob out of a repository, and off the disk when no other repository has it. False: it was not there. */
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
  // A repository that links it right now keeps its bytes: they live as long as any link.
  if (links === 1) await removeFile(content);
  return true;
}

/** Bytes of a regular file; undefined when there is none. */
export async function fileSize(path: string): Promise<number | undefined> {
  return orMissing(stat(path).then((found) => (found.isFile() ? found.size : undefined)));
}

/** The content of a small file; undefined when there is none. */
export async function readSmallFile(path: string): Promise<Buffer | undefined> {
  return orMissing(readFile(path));
}

/** The names in a folder; none when there is no folder. */
export async function listFolder(path: string): Promise<string[]> {
  return (await orMissing(readdir(path))) ?? [];
}

/** Removes a file. False: it was not there. */
export async function removeFile(path: string): Promise<boolean> {
  return (await orMissing(unlink(path).then(() => true))) ?? false;
}

/** Tells whether an error is the operating system's of that name. */
export function isFileError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Gives a file a second name; one that is there already holds the same content. Tells whether it is new. */
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
