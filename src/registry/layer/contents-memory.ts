import {
  type ContentsRecorder,
  decodeContents,
  type LayerContents,
  type LayerIdentity,
} from './layer-contents.ts';

/** Where what layers contain is kept. Nothing in it throws. */
export interface ContentsStore {
  /** Returns the contents of a layer, if they are known. */
  find(layer: LayerIdentity): Promise<LayerContents | undefined>;
  /** Keeps what a layer contains, once it has been read and verified. Returns before that is done. */
  store(layer: LayerIdentity, recorder: ContentsRecorder): void;
}

/** Some 1,000,000 entries of layers. */
const defaultMaxBytes = 8 * 1024 ** 2;

/**
 * What layers contain, in the memory of a process that reads many images. It is as trustworthy as what the process
 * has read. Records are kept packed; those that were used least recently go first.
 */
export class ContentsMemory implements ContentsStore {
  readonly #maxBytes: number;
  /** Least recently used first. */
  readonly #records = new Map<string, Buffer>();
  #bytes = 0;

  /** @param maxBytes of all records together */
  constructor(maxBytes = defaultMaxBytes) {
    this.#maxBytes = maxBytes;
  }

  async find(layer: LayerIdentity): Promise<LayerContents | undefined> {
    const key = keyOf(layer);
    const record = this.#records.get(key);
    if (record === undefined) return undefined;
    this.#records.delete(key);
    this.#records.set(key, record);
    return decodeContents(key, record);
  }

  store(layer: LayerIdentity, recorder: ContentsRecorder): void {
    const key = keyOf(layer);
    recorder.encode(key).then(
      (record) => this.#keep(key, record),
      () => {},
    );
  }

  #keep(key: string, record: Buffer | undefined): void {
    if (record === undefined || record.length > this.#maxBytes) return;
    this.#forget(key);
    this.#records.set(key, record);
    this.#bytes += record.length;
    for (const oldest of this.#records.keys()) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#forget(oldest);
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#records.get(key)?.length ?? 0;
    this.#records.delete(key);
  }
}

function keyOf({ digest, size, diffId }: LayerIdentity): string {
  return `${digest} ${size} ${diffId}`;
}
