import type { Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { Informer } from '../../runtime/cache/informer.ts';
import { isApiError } from '../../runtime/api/errors.ts';
import type { KubernetesObject } from '../../runtime/api/object-key.ts';
import { forbidden, type NamespacedKey } from './reference.ts';
import type { Kept, ReferenceSource } from './kept.ts';

/** Stands for an object that does not exist. */
const absent = 'absent';
/** Stands for a read that failed. */
const unknown = 'unknown';

export interface ReferencedObjectOptions<T extends KubernetesObject, P> {
  readonly client: ApiClient;
  readonly source: ReferenceSource<T, P>;
  readonly key: NamespacedKey;
  readonly log: Logger;
  /** Called when a reader would get a different value than before. */
  readonly onChange: () => void;
}

/** One object that is referred to: read directly until its watch has synced, then from the watch. */
export class ReferencedObject<T extends KubernetesObject, P> {
  readonly #options: ReferencedObjectOptions<T, P>;
  /** Digests of the values returned to readers. */
  readonly #told = new Set<string>();
  #informer: Informer<T, Kept<P>> | undefined;
  #reading: Promise<Kept<P> | undefined> | undefined;

  constructor(options: ReferencedObjectOptions<T, P>) {
    this.#options = options;
  }

  /** Follows the object until the signal is aborted. */
  async follow(signal: AbortSignal): Promise<void> {
    const { client, source, key, log } = this.#options;
    const informer = new Informer<T, Kept<P>>({
      client,
      resource: source.resource,
      project: source.keep,
      selection: { namespace: key.namespace, fieldSelector: `metadata.name=${key.name}` },
      log: withFields(log, { object: `${key.namespace}/${key.name}` }),
    });
    this.#informer = informer;
    const compare = (): void => this.#compare(informer);
    informer.onEvent(compare);
    // An object that does not exist causes no event.
    void informer.waitForSync(signal).then(compare, () => {});
    try {
      await informer.run(signal);
    } finally {
      if (this.#informer === informer) this.#informer = undefined;
    }
  }

  /**
   * Returns the cached part of the object; undefined if it does not exist.
   * @throws ReferencedObjectError, ApiError
   */
  async read(): Promise<P | undefined> {
    const kept = await this.#current();
    this.#told.add(kept?.digest ?? absent);
    const value = kept?.value;
    if (value instanceof Error) throw value;
    return value;
  }

  async #current(): Promise<Kept<P> | undefined> {
    const watched = this.#watched();
    if (watched !== undefined) return watched.kept;
    this.#reading ??= this.#get().finally(() => {
      this.#reading = undefined;
    });
    try {
      const kept = await this.#reading;
      const meanwhile = this.#watched();
      // A watch that has synced meanwhile may be ahead of this response.
      return meanwhile === undefined ? kept : meanwhile.kept;
    } catch (error) {
      this.#told.add(unknown);
      throw error;
    }
  }

  /** Returns the state of the watch; undefined until it has synced. */
  #watched(): { readonly kept: Kept<P> | undefined } | undefined {
    const informer = this.#informer;
    return informer?.hasSynced === true ? { kept: informer.get(this.#options.key) } : undefined;
  }

  async #get(): Promise<Kept<P> | undefined> {
    const { client, source, key } = this.#options;
    try {
      return source.keep(await client.get(source.resource, key));
    } catch (error) {
      if (isApiError(error, 'NOT_FOUND')) return undefined;
      if (isApiError(error, 'FORBIDDEN')) throw forbidden(source.resource, key, error);
      throw error;
    }
  }

  #compare(informer: Informer<T, Kept<P>>): void {
    if (!informer.hasSynced || informer !== this.#informer) return;
    const now = informer.get(this.#options.key)?.digest ?? absent;
    const isNews = Array.from(this.#told).some((digest) => digest !== now);
    if (!isNews) return;
    this.#told.clear();
    this.#told.add(now);
    this.#options.onChange();
  }
}

function withFields(log: Logger, fields: Readonly<Record<string, unknown>>): Logger {
  return {
    debug: (message, more) => log.debug(message, { ...fields, ...more }),
    info: (message, more) => log.info(message, { ...fields, ...more }),
    warn: (message, more) => log.warn(message, { ...fields, ...more }),
    error: (message, more) => log.error(message, { ...fields, ...more }),
  };
}
