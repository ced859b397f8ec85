import { ignoreRejection } from '../../../shared/abortable.ts';
import type { TemporaryFile } from '../../../shared/temporary.ts';
import { decompressLayer } from '../../../registry/layer/decompress.ts';
import { defaultLayerLimits, type WrittenLayer } from '../../../registry/layer/layer-source.ts';
import type { LayerCompression } from '../../../registry/model/media-types.ts';
import type { BegunBlob } from '../../../registry/transfer/upload.ts';
import { writeLayer } from '../../../registry/layer/write-layer.ts';
import type { Replacement } from '../../../registry/tar/entry.ts';
import { rewriteTar } from '../../../registry/tar/rewriter.ts';
import { fileContent } from '../../../shared/byte-source.ts';
import type { LentChunks } from '../../../shared/chunks.ts';
import { openTemporaryFile, usingTemporaryFiles } from '../../files/temporary-files.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import { ChunkPipe } from './chunk-pipe.ts';
import { GrowingFile } from './growing-file.ts';

/** A new layer, in a temporary file. */
export interface NewLayer extends AsyncDisposable {
  readonly written: WrittenLayer;
  readonly compression: LayerCompression;
  /** Resolves when the blob is verified, which may be shortly after it was written. */
  readonly verification: Promise<number>;
  /** The upload of the blob, if it was begun while the blob was written. */
  readonly begun: BegunBlob | undefined;
  /** Opens the compressed blob from its start. */
  open(): LentChunks;
}

/** What reads a blob while it is written. */
export interface BlobReaders {
  /** Unpacks it and verifies what it must contain. */
  readonly verify: (blob: LentChunks) => Promise<number>;
  /** Begins to upload it, if that can be done; `open` reads it from its start. */
  readonly upload: (open: () => LentChunks) => BegunBlob | undefined;
}

/** Rewrites a layer with some entries' contents replaced; all else is kept, including the compression. */
export async function rewriteLayer(
  blob: LentChunks,
  replacements: ReadonlyMap<number, Replacement>,
  readers: BlobReaders,
  run: SigningRun,
): Promise<NewLayer> {
  const { compression, tar } = await decompressLayer(blob, { limits: defaultLayerLimits });
  return writeNewLayer(rewriteTar(tar, replacements), compression, readers, run);
}

/**
 * Writes a tar stream as a layer blob into a temporary file; on the way, its bytes are verified and may be uploaded.
 * @throws SignerError FILE_ERROR
 */
export async function writeNewLayer(
  tar: LentChunks,
  compression: LayerCompression,
  readers: BlobReaders,
  { compressionLevel, temporaryDirectory, signal }: SigningRun,
): Promise<NewLayer> {
  const file = await openTemporaryFile(temporaryDirectory);
  const pipe = new ChunkPipe();
  const growing = new GrowingFile(file.handle);
  const verification = readers.verify(pipe.chunks()).finally(() => pipe.close());
  // Awaited when the layer is published; until then, a rejection must not be reported as unhandled.
  ignoreRejection(verification);
  const begun = readers.upload(() => growing.chunks());
  try {
    const written = await usingTemporaryFiles(temporaryDirectory, () =>
      writeLayer({
        tar,
        compression,
        level: compressionLevel,
        file: file.path,
        onChunk: (chunk) => {
          growing.grow(chunk.length);
          return pipe.write(chunk);
        },
        signal,
      }),
    );
    pipe.end();
    growing.end();
    return newLayer({ file, written, compression, verification, begun });
  } catch (error) {
    pipe.fail(error);
    growing.fail(error);
    await Promise.allSettled([verification]);
    await begun?.[Symbol.asyncDispose]();
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

function newLayer({
  file,
  ...layer
}: Omit<NewLayer, 'open' | typeof Symbol.asyncDispose> & { readonly file: TemporaryFile }): NewLayer {
  return {
    ...layer,
    open: () => fileContent(file.handle),
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([layer.verification]);
      await layer.begun?.[Symbol.asyncDispose]();
      await file[Symbol.asyncDispose]();
    },
  };
}
