import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { parseImageLocation } from '../../registry/open-repository.ts';
import { formatReference } from '../../registry/model/reference.ts';
import { KmmError } from '../../shared/errors.ts';
import { fileError } from '../../signer/files/write-file.ts';
import { usageError } from '../output/usage-error.ts';

/** Limits on a list, so that a file that is none is noticed. */
const maxImages = 10_000;
const maxLineBytes = 4096;
const maxBytes = 8 * 1024 ** 2;

/** An image of a list. */
export interface BatchLine {
  /** The number of its line, from 1. */
  readonly line: number;
  readonly source: string;
  readonly destination: string;
}

/**
 * Reads a list of images: lines of SOURCE and DESTINATION, empty lines, and comments that begin with `#`.
 * @param path `-` for stdin
 * @throws CliError USAGE if a line cannot be right, or names the destination of another; SignerError FILE_ERROR
 */
export async function readBatch(path: string): Promise<readonly BatchLine[]> {
  const images = parseLines(await readText(path));
  if (images.length === 0) throw usageError(`${nameOf(path)} names no image`, form);
  if (images.length > maxImages)
    throw usageError(`${nameOf(path)} names ${images.length} images, more than the limit of ${maxImages}`);
  const taken = new Map<string, number>();
  for (const { line, destination } of images) {
    const name = tagOf(destination);
    const before = name === undefined ? undefined : taken.get(name);
    if (before !== undefined)
      throw usageError(
        `Lines ${before} and ${line} have the same destination ${destination}`,
        'Name another tag.',
      );
    if (name !== undefined) taken.set(name, line);
  }
  return images;
}

const form = 'Each line has SOURCE and DESTINATION, separated by blanks.';

function nameOf(path: string): string {
  return path === '-' ? 'The list on stdin' : path;
}

async function readText(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of (path === '-'
      ? process.stdin
      : createReadStream(path)) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes) throw usageError(`${nameOf(path)} has more than ${maxBytes} bytes`, form);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof KmmError ? error : fileError('read', path, error);
  }
  return Buffer.concat(chunks).toString();
}

function parseLines(text: string): BatchLine[] {
  return text.split('\n').flatMap((content, index) => {
    const line = index + 1;
    if (content.length > maxLineBytes)
      throw usageError(`Line ${line} has more than ${maxLineBytes} characters`, form);
    const words = content.trim().split(/[ \t]+/);
    if (words[0] === '' || words[0]?.startsWith('#') === true) return [];
    const [source, destination] = words;
    if (source === undefined || destination === undefined || words.length > 2)
      throw usageError(`Line ${line} has ${words.length} words instead of 2`, form);
    for (const reference of [source, destination]) checkReference(reference, line);
    return [{ line, source, destination }];
  });
}

function checkReference(reference: string, line: number): void {
  try {
    parseImageLocation(reference);
  } catch (error) {
    if (!(error instanceof KmmError)) throw error;
    throw usageError(`Line ${line}: ${error.message}`, error.hint);
  }
}

/** Returns one name for all spellings of a destination; undefined if it has no tag that could move. */
function tagOf(destination: string): string | undefined {
  const location = parseImageLocation(destination);
  if (location.kind === 'registry')
    return location.reference.tag === undefined ? undefined : formatReference(location.reference);
  return `oci:${resolve(location.directory)}:${location.tag ?? ''}`;
}
