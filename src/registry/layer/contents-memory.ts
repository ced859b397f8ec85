import { ignoreRejection } from '../../shared/abortable.ts';
import { LruMap } from '../../shared/lru.ts';
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
  readonly #records: LruMap<Buffer>;

  /** @param maxBytes of all records together */
  constructor(maxBytes = defaultMaxBytes) {
    this.#records = new LruMap(maxBytes, ({ length }) => length);
  }

  async find(layer: LayerIdentity): Promise<LayerContents | undefined> {
    const key = keyOf(layer);
    const record = this.#records.get(key);
    return record && decodeContents(key, record);
  }

  store(layer: LayerIdentity, recorder: ContentsRecorder): void {
    ignoreRejection(this.#keep(keyOf(layer), recorder));
  }

  async #keep(key: string, recorder: ContentsRecorder): Promise<void> {
    const record = await recorder.encode(key);
    if (record !== undefined) this.#records.set(key, record);
  }
}

function keyOf({ digest, size, diffId }: LayerIdentity): string {
  return `${digest} ${size} ${diffId}`;
}
