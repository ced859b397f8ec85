import { isApiError } from '../runtime/api/errors.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { listPages, type Selection } from '../runtime/api/list.ts';
import { formatKey, type ObjectKey } from '../runtime/api/object-key.ts';
import type { Resource } from '../runtime/api/resource.ts';
import { secrets, type CustomResource } from '../observe/cluster/resources.ts';
import { concernsUs } from './plan.ts';
import { cleanObject } from './redaction.ts';
import { describeSecret } from './secret-facts.ts';
import type { ServedResources } from './served-resources.ts';

/** Something that could not be had. */
export interface Failure {
  readonly what: string;
  readonly reason: string;
}

/** The most objects of one resource that are kept: those of the largest clusters that Kubernetes supports. */
const maxObjects = 20_000;

/** Reads a cluster, and keeps what it got. What is refused is recorded, and nothing else is stopped by it. */
export class Collector {
  readonly failures: Failure[] = [];
  /** Where it looks if it may not look everywhere. */
  readonly namespaces = new Set<string>();
  readonly #client: ApiClient;
  readonly #signal: AbortSignal;
  readonly #resources = new Map<string, Map<string, CustomResource>>();
  readonly #missing: { readonly resource: Resource; readonly key: ObjectKey }[] = [];

  constructor(client: ApiClient, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  /** The objects of a resource that were read, in the order of their names. */
  objects(group: string, plural: string): readonly CustomResource[] {
    const found = this.#resources.get(`${plural}.${group}`);
    const entries = [...(found ?? [])].toSorted(([one], [other]) => (one < other ? -1 : 1));
    return entries.map(([, object]) => object);
  }

  /** All objects that were read, by group and plural. */
  *all(): Generator<readonly [group: string, plural: string, objects: readonly CustomResource[]]> {
    for (const name of [...this.#resources.keys()].toSorted()) {
      const [plural = '', ...group] = name.split('.');
      yield [group.join('.'), plural, this.objects(group.join('.'), plural)];
    }
  }

  /** The objects that were asked for by name and do not exist. */
  get missing(): readonly { readonly resource: Resource; readonly key: ObjectKey }[] {
    return this.#missing;
  }

  /** Reads the objects of a resource that a selection finds, if the cluster serves it. */
  async list(
    served: ServedResources,
    [group, plural]: readonly [string, string],
    selection: Selection = {},
  ): Promise<void> {
    const resource = served.find(group, plural);
    if (resource === undefined) return;
    try {
      await this.#listPages(resource, selection);
    } catch (error) {
      this.#signal.throwIfAborted();
      const known = resource.namespaced && selection.namespace === undefined ? [...this.namespaces] : [];
      this.fail(`${plural} in ${selection.namespace ?? 'all namespaces'}`, error);
      if (!isApiError(error, 'FORBIDDEN')) return;
      for (const namespace of known) await this.list(served, [group, plural], { ...selection, namespace });
    }
  }

  /** Reads one object, if the cluster serves its resource. */
  async get(
    served: ServedResources,
    [group, plural]: readonly [string, string],
    key: ObjectKey,
  ): Promise<void> {
    const resource = served.find(group, plural);
    if (resource === undefined || this.#resources.get(`${plural}.${group}`)?.has(formatKey(key)) === true)
      return;
    try {
      this.#keep(resource, await this.#client.get(resource, key, { signal: this.#signal }));
    } catch (error) {
      this.#signal.throwIfAborted();
      if (isApiError(error, 'NOT_FOUND')) this.#missing.push({ resource, key });
      else this.fail(`${resource.kind} ${formatKey(key)}`, error);
    }
  }

  /** Records what could not be had. */
  fail(what: string, error: unknown): void {
    this.failures.push({ what, reason: error instanceof Error ? error.message : String(error) });
  }

  async #listPages(resource: Resource<CustomResource>, selection: Selection): Promise<void> {
    let count = 0;
    for await (const { items } of listPages(this.#client, resource, { ...selection, signal: this.#signal })) {
      for (const object of items) this.#keep(resource, object);
      count += items.length;
      if (count >= maxObjects) {
        this.fail(`more than ${count} ${resource.plural}`, new Error('there are too many'));
        return;
      }
    }
  }

  #keep(resource: Resource<CustomResource>, object: CustomResource): void {
    const { group, version, plural, kind } = resource;
    if (!concernsUs([group, plural], object.metadata.name, object.metadata.labels ?? {})) return;
    const name = `${plural}.${group}`;
    const found = this.#resources.get(name) ?? new Map<string, CustomResource>();
    this.#resources.set(name, found);
    const isSecret = group === secrets.group && plural === secrets.plural;
    // Lists leave these out of their items.
    const typed = { apiVersion: group === '' ? version : `${group}/${version}`, kind, ...object };
    const { namespace, name: objectName } = object.metadata;
    found.set(
      formatKey({ namespace, name: objectName }),
      isSecret ? describeSecret(object) : cleanObject(typed),
    );
  }
}
