import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { TemporaryFile } from '../../shared/temporary-file.ts';
import { decompressLayer } from '../../registry/layer/decompress.ts';
import { defaultLayerLimits, type LayerCompression, type WrittenLayer } from '../../registry/layer/layer.ts';
import { writeLayer } from '../../registry/layer/write-layer.ts';
import type { Replacement } from '../../registry/tar/entry.ts';
import { rewriteTar } from '../../registry/tar/rewriter.ts';
import { openTemporaryFile, usingTemporaryFiles } from '../temporary-files.ts';

/** A new layer, in a temporary file. */
export interface NewLayer extends AsyncDisposable {
  readonly written: WrittenLayer;
  readonly compression: LayerCompression;
  /** Opens the compressed blob from its start. */
  open(): Readable;
}

/** Where and how layers are written. */
export interface LayerWriting {
  readonly compressionLevel?: number | undefined;
  readonly temporaryDirectory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Writes a layer anew with some entries' contents replaced, everything else as it is, compressed as it was. */
export async function rewriteLayer(
  blob: Readable,
  replacements: ReadonlyMap<number, Replacement>,
  options: LayerWriting,
): Promise<NewLayer> {
  const { compression, tar } = await decompressLayer(blob, { limits: defaultLayerLimits });
  return writeNewLayer(rewriteTar(tar, replacements), compression, options);
}

/** Writes a tar stream as a layer blob into a temporary file. @throws SignerError FILE_ERROR */
export async function writeNewLayer(
  tar: AsyncIterable<Buffer>,
  compression: LayerCompression,
  { compressionLevel, temporaryDirectory, signal }: LayerWriting,
): Promise<NewLayer> {
  const file = await openTemporaryFile(temporaryDirectory);
  try {
    const written = await usingTemporaryFiles(temporaryDirectory, () =>
      writeLayer({ tar, compression, level: compressionLevel, file: file.path, signal }),
    );
    return newLayer(file, written, compression);
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

function newLayer(file: TemporaryFile, written: WrittenLayer, compression: LayerCompression): NewLayer {
  return {
    written,
    compression,
    open: () => createReadStream(file.path, { highWaterMark: 1024 * 1024 }),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  };
}
