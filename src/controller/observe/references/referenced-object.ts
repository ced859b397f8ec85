import type { Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { Informer } from '../../runtime/cache/informer.ts';
import { isApiError } from '../../runtime/api/errors.ts';
import type { KubernetesObject, ObjectKey } from '../../runtime/api/object-key.ts';
import { forbidden, type NamespacedKey } from './reference.ts';
import type { Projection, ReferenceSource } from './projections.ts';

/** Stands for an object that does not exist. */
const absent = 'absent';
/** Stands for a read that failed. */
const unknown = 'unknown';

/** One object that is referred to: read directly until its watch has synced, then from the watch. */
export class ReferencedObject<T extends KubernetesObject, P> {
  readonly #client: ApiClient;
  readonly #source: ReferenceSource<T, P>;
  readonly #key: NamespacedKey;
  readonly #log: Logger;
  readonly #onChange: () => void;
  /** Digests of the values returned to readers. */
  readonly #reported = new Set<string>();
  #informer: Informer<T, Projection<P>> | undefined;
  #reading: Promise<Projection<P> | undefined> | undefined;

  /** @param onChange called when a reader would get a different value than before */
  constructor(
    client: ApiClient,
    source: ReferenceSource<T, P>,
    key: NamespacedKey,
    log: Logger,
    onChange: () => void,
  ) {
    this.#client = client;
    this.#source = source;
    this.#key = key;
    this.#log = log;
    this.#onChange = onChange;
  }

  /** Follows the object until the signal is aborted. */
  async follow(signal: AbortSignal): Promise<void> {
    const { namespace, name } = this.#key;
    const informer = new Informer<T, Projection<P>>({
      client: this.#client,
      ...this.#source,
      selection: { namespace, fieldSelector: `metadata.name=${name}` },
      log: withFields(this.#log, { object: `${namespace}/${name}` }),
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
    const projection = await this.#current();
    this.#reported.add(projection?.digest ?? absent);
    return valueOf(projection);
  }

  async #current(): Promise<Projection<P> | undefined> {
    const watched = this.#watched();
    if (watched !== undefined) return watched.projection;
    this.#reading ??= readReference(this.#client, this.#source, this.#key).finally(() => {
      this.#reading = undefined;
    });
    try {
      const projection = await this.#reading;
      const meanwhile = this.#watched();
      // A watch that has synced meanwhile may be ahead of this response.
      return meanwhile === undefined ? projection : meanwhile.projection;
    } catch (error) {
      this.#reported.add(unknown);
      throw error;
    }
  }

  /** Returns the state of the watch; undefined until it has synced. */
  #watched(): { readonly projection: Projection<P> | undefined } | undefined {
    const informer = this.#informer;
    return informer?.hasSynced === true ? { projection: informer.get(this.#key) } : undefined;
  }

  #compare(informer: Informer<T, Projection<P>>): void {
    if (!informer.hasSynced || informer !== this.#informer) return;
    const now = informer.get(this.#key)?.digest ?? absent;
    const isChanged = Array.from(this.#reported).some((digest) => digest !== now);
    if (!isChanged) return;
    this.#reported.clear();
    this.#reported.add(now);
    this.#onChange();
  }
}

/**
 * Reads an object from the API server; undefined if it does not exist.
 * @throws ReferencedObjectError REFERENCE_FORBIDDEN, ApiError
 */
export async function readReference<T extends KubernetesObject, P>(
  client: ApiClient,
  { resource, project }: ReferenceSource<T, P>,
  key: ObjectKey,
): Promise<Projection<P> | undefined> {
  try {
    return project(await client.get(resource, key));
  } catch (error) {
    if (isApiError(error, 'NOT_FOUND')) return undefined;
    if (isApiError(error, 'FORBIDDEN')) throw forbidden(resource, key, error);
    throw error;
  }
}

/** Returns what users get of an object. @throws ReferencedObjectError if it is unusable */
export function valueOf<P>(projection: Projection<P> | undefined): P | undefined {
  const value = projection?.value;
  if (value instanceof Error) throw value;
  return value;
}

function withFields(log: Logger, fields: Readonly<Record<string, unknown>>): Logger {
  return {
    debug: (message, more) => log.debug(message, { ...fields, ...more }),
    info: (message, more) => log.info(message, { ...fields, ...more }),
    warn: (message, more) => log.warn(message, { ...fields, ...more }),
    error: (message, more) => log.error(message, { ...fields, ...more }),
  };
}
