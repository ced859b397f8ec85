import { randomBytes } from 'node:crypto';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import type { LentChunk, LentChunks } from '../../../src/shared/chunks.ts';
import { inChunks } from '../../support/tar-blocks.ts';

/** Bytes some of which can be compressed, in more than one piece. */
export const mixed = Buffer.concat([
  randomBytes(1_500_000),
  Buffer.alloc(2_000_000, 'text that repeats '),
  randomBytes(70_000),
]);
/** A blob that ends with the error that a download gives when its digest is wrong. */
export async function* withWrongDigest(bytes: Buffer): AsyncGenerator<Buffer> {
  yield* inChunks(bytes, 10_000);
  throw new RegistryError({ code: 'DIGEST_MISMATCH', message: 'another digest than promised' });
}

/** What is left of each chunk when all have been read. */
export async function leftOver(source: LentChunks): Promise<number[]> {
  const chunks: LentChunk[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return chunks.map(({ length }) => length);
}
