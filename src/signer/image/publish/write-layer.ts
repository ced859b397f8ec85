import { ignoreRejection } from '../../../shared/abortable.ts';
import type { TemporaryFile } from '../../../shared/temporary.ts';
import { decompressLayer } from '../../../registry/layer/decompress.ts';
import { defaultLayerLimits, type WrittenLayer } from '../../../registry/layer/layer-source.ts';
import type { LayerCompression } from '../../../registry/model/media-types.ts';
import { writeLayer } from '../../../registry/layer/write-layer.ts';
import type { Replacement } from '../../../registry/tar/entry.ts';
import { rewriteTar } from '../../../registry/tar/rewriter.ts';
import { fileContent } from '../../../shared/byte-source.ts';
import type { LentChunks } from '../../../shared/chunks.ts';
import { openTemporaryFile, usingTemporaryFiles } from '../../files/temporary-files.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import { ChunkPipe } from './chunk-pipe.ts';

/** A new layer, in a temporary file. */
export interface NewLayer extends AsyncDisposable {
  readonly written: WrittenLayer;
  readonly compression: LayerCompression;
  /** Resolves when the blob is verified, which may be shortly after it was written. */
  readonly verification: Promise<number>;
  /** Opens the compressed blob from its start. */
  open(): LentChunks;
}

/** Unpacks a blob and verifies what it must contain. */
export type LayerVerifier = (blob: LentChunks) => Promise<number>;

/** Rewrites a layer with some entries' contents replaced; all else is kept, including the compression. */
export async function rewriteLayer(
  blob: LentChunks,
  replacements: ReadonlyMap<number, Replacement>,
  verify: LayerVerifier,
  run: SigningRun,
): Promise<NewLayer> {
  const { compression, tar } = await decompressLayer(blob, { limits: defaultLayerLimits });
  return writeNewLayer(rewriteTar(tar, replacements), compression, verify, run);
}

/**
 * Writes a tar stream as a layer blob into a temporary file, and verifies its bytes on the way.
 * @throws SignerError FILE_ERROR
 */
export async function writeNewLayer(
  tar: LentChunks,
  compression: LayerCompression,
  verify: LayerVerifier,
  { compressionLevel, temporaryDirectory, signal }: SigningRun,
): Promise<NewLayer> {
  const file = await openTemporaryFile(temporaryDirectory);
  const pipe = new ChunkPipe();
  const verification = verify(pipe.chunks()).finally(() => pipe.close());
  // Awaited when the layer is published; until then, a rejection must not be reported as unhandled.
  ignoreRejection(verification);
  try {
    const written = await usingTemporaryFiles(temporaryDirectory, () =>
      writeLayer({
        tar,
        compression,
        level: compressionLevel,
        file: file.path,
        onChunk: (chunk) => pipe.write(chunk),
        signal,
      }),
    );
    pipe.end();
    return newLayer({ file, written, compression, verification });
  } catch (error) {
    pipe.fail(error);
    await Promise.allSettled([verification]);
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

function newLayer({
  file,
  ...layer
}: Pick<NewLayer, 'written' | 'compression' | 'verification'> & { readonly file: TemporaryFile }): NewLayer {
  return {
    ...layer,
    open: () => fileContent(file.handle),
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([layer.verification]);
      await file[Symbol.asyncDispose]();
    },
  };
}
