import { dirname, join } from 'node:path';
import type { Platform } from '../registry/model/platform.ts';
import { createDirectory } from '../shared/create-directory.ts';
import type { ByteSource } from '../shared/byte-source.ts';
import type { FileVisitor } from './image/read/captures.ts';
import { SignerError } from './model/errors.ts';
import { requireMatches } from './image/read/selection.ts';
import { scanImage } from './image/read/scan.ts';
import { Spool } from './image/read/spool.ts';
import {
  findShadowed,
  platformImages,
  type ImageLocation,
  type ReadingRun,
} from './image/read/platform-images.ts';
import { parseFilePattern } from './model/patterns.ts';
import type { ProgressListener } from './model/report.ts';
import { fileError, replaceFile } from './files/write-file.ts';

export interface ExtractModulesOptions {
  readonly image: ImageLocation;
  /** The target directory; each file keeps its path from the image below it. Created if it does not exist. */
  readonly directory: string;
  /** Absolute paths or globs. @default every kernel module */
  readonly files?: readonly string[] | undefined;
  /** @default the image's only platform */
  readonly platform?: Platform | undefined;
  /** Directory for temporary files. @default the system's directory for temporary files */
  readonly temporaryDirectory?: string | undefined;
  readonly onProgress?: ProgressListener | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A file that was written. */
export interface ExtractedFile {
  /** Absolute path in the image. */
  readonly path: string;
  /** Path of the local file. */
  readonly target: string;
  /** Size in bytes. */
  readonly size: number;
}

export interface ExtractReport {
  readonly files: readonly ExtractedFile[];
}

/**
 * Writes modules of an image to a directory, unchanged. Nothing is written until all of them have been read
 * and verified. @throws RegistryError, SignerError
 */
export async function extractModules(options: ExtractModulesOptions): Promise<ExtractReport> {
  const { directory, platform } = options;
  const run: ReadingRun = Object.freeze({
    source: options.image,
    patterns: options.files === undefined ? null : options.files.map(parseFilePattern),
    platforms: platform === undefined ? undefined : [platform],
    allowUnmatched: false,
    temporaryDirectory: options.temporaryDirectory,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  const { repository, selector } = run.source;
  const manifest = await repository.getManifest(selector, { signal: run.signal });
  const images = await platformImages(manifest, run);
  const shadowed = findShadowed(images);
  const [first, ...others] = images.filter((_, index) => shadowed[index] !== true);
  if (first === undefined || others.length > 0) throw ambiguous(repository.name, others.length + 1);
  await using spool = new Spool(run.temporaryDirectory);
  const visitor: FileVisitor<ByteSource> = {
    headerDetail: 'header-blocks',
    visit: async (entry) => spool.ensureStored(await spool.load(entry)),
  };
  const scan = await scanImage(first, visitor, run);
  requireMatches([scan], run);
  const extracted: ExtractedFile[] = [];
  for (const { path, header, captured } of scan.files) {
    const target = join(directory, path);
    await createParentDirectory(target);
    await replaceFile(target, [captured], header.mode & 0o777);
    extracted.push({ path, target, size: captured.size });
  }
  return { files: extracted };
}

async function createParentDirectory(target: string): Promise<void> {
  const parent = dirname(target);
  try {
    await createDirectory(parent);
  } catch (error) {
    throw fileError('written', parent, error);
  }
}

function ambiguous(image: string, count: number): SignerError {
  return new SignerError({
    code: 'FILE_NOT_IN_IMAGE',
    message:
      count === 0 ? `${image} contains no image to extract from` : `${image} is for ${count} platforms`,
    hint: 'Name one of them with --platform.',
    facts: { image },
  });
}
