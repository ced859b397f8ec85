import { SignerError } from '../model/errors.ts';
import type { FilePattern } from '../model/patterns.ts';

/** What a scan tells of the patterns that it looked for. */
interface Matches {
  readonly files: readonly unknown[];
  readonly unmatched: readonly FilePattern[];
}

/**
 * Makes sure that every pattern matches in at least one platform, or without patterns, that there is a
 * module at all. @throws SignerError FILE_NOT_IN_IMAGE
 */
export function requireMatches(
  patterns: readonly FilePattern[] | null,
  scans: readonly Matches[],
  image: string,
): void {
  if (patterns === null) {
    if (scans.some(({ files }) => files.length > 0)) return;
    throw notInImage(`${image} holds no kernel module`, image, []);
  }
  const missing = patterns.filter((pattern) => scans.every(({ unmatched }) => unmatched.includes(pattern)));
  if (missing.length === 0) return;
  const names = missing.map(({ text }) => text);
  throw notInImage(`${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} not in ${image}`, image, names);
}

function notInImage(message: string, image: string, patterns: readonly string[]): SignerError {
  const elsewhere =
    patterns.length === 0
      ? 'Only files named *.ko, *.ko.gz, *.ko.xz or *.ko.zst are looked for; --file takes a path with any name'
      : 'kmm-sign inspect without --file lists all modules of an image';
  return new SignerError({
    code: 'FILE_NOT_IN_IMAGE',
    message,
    hint: `${elsewhere}; --allow-unmatched goes on without.`,
    facts: { image, patterns },
  });
}
