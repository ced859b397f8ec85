import { RegistryError } from '../../../registry/model/errors.ts';

/** Limits of concurrent lookups in registries. */
export interface ShareLimits {
  readonly total: number;
  /** The most lookups in one registry. */
  readonly perRegistry: number;
  /** The most lookups for one namespace. */
  readonly perNamespace: number;
  /** The most waiting lookups of a namespace; further ones are refused. */
  readonly maxWaiting: number;
}

/** The namespace that a lookup is for, and its registry. */
export interface Share {
  /** Undefined: no namespace in particular; limited only by the registry. */
  readonly namespace: string | undefined;
  /** Host and port. */
  readonly registry: string;
}

interface Waiting {
  readonly registry: string;
  readonly begin: () => void;
}

/**
 * Shares a limited number of lookups among namespaces and registries, so that a registry that does not
 * respond holds up neither other registries nor other namespaces. Namespaces take turns; each is served in
 * the order of requests.
 */
export class Shares {
  readonly #limits: ShareLimits;
  readonly #registries = new Map<string, number>();
  readonly #namespaces = new Map<string | undefined, number>();
  /** By namespace, the most recently served last. */
  readonly #waiting = new Map<string | undefined, Set<Waiting>>();
  #total = 0;

  constructor(limits: ShareLimits) {
    this.#limits = limits;
  }

  /**
   * Waits for a share. Returns the function that releases it, to be called once.
   * @throws RegistryError LIMIT_EXCEEDED if too many of the namespace are waiting; the signal's reason
   */
  async take(share: Share, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const { namespace, registry } = share;
    const queue = this.#waiting.get(namespace) ?? new Set();
    if (queue.size >= this.#limits.maxWaiting) throw tooMany(share, this.#limits.maxWaiting);
    const turn = Promise.withResolvers<void>();
    const one: Waiting = { registry, begin: turn.resolve };
    this.#waiting.set(namespace, queue.add(one));
    const leave = (): void => {
      if (queue.delete(one)) turn.reject(signal.reason);
      this.#dropIfEmpty(namespace, queue);
    };
    signal.addEventListener('abort', leave, { once: true });
    this.#serve();
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
    return () => {
      this.#count(share, -1);
      this.#serve();
    };
  }

  #serve(): void {
    for (let served = true; served && this.#total < this.#limits.total;) {
      served = [...this.#waiting].some(([namespace, queue]) => this.#serveOne(namespace, queue));
    }
  }

  /** Starts the first lookup of a namespace whose registry has a share left. */
  #serveOne(namespace: string | undefined, queue: Set<Waiting>): boolean {
    const limit = namespace === undefined ? Infinity : this.#limits.perNamespace;
    if ((this.#namespaces.get(namespace) ?? 0) >= limit) return false;
    for (const one of queue) {
      const { registry, begin } = one;
      if ((this.#registries.get(registry) ?? 0) >= this.#limits.perRegistry) continue;
      queue.delete(one);
      this.#waiting.delete(namespace);
      if (queue.size > 0) this.#waiting.set(namespace, queue);
      this.#count({ namespace, registry }, 1);
      begin();
      return true;
    }
    return false;
  }

  #count({ namespace, registry }: Share, change: 1 | -1): void {
    this.#total += change;
    add(this.#namespaces, namespace, change);
    add(this.#registries, registry, change);
  }

  #dropIfEmpty(namespace: string | undefined, queue: Set<Waiting>): void {
    if (queue.size === 0 && this.#waiting.get(namespace) === queue) this.#waiting.delete(namespace);
  }
}

/** Adds to a count. Only counts other than zero are stored. */
function add<Key>(counts: Map<Key, number>, key: Key, change: number): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

function tooMany({ namespace, registry }: Share, limit: number): RegistryError {
  const of = namespace === undefined ? '' : ` of namespace ${namespace}`;
  return new RegistryError({
    code: 'LIMIT_EXCEEDED',
    message: `More than ${limit} image lookups${of} are waiting`,
    hint: 'Check which of its registries responds slowly; the lookup is repeated later.',
    facts: { namespace, registry, limit },
  });
}
