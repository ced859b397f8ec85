import * as z from 'zod';
import type { CustomResource } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import type { Resource } from '../runtime/api/resource.ts';

const groupVersion = z.looseObject({ version: z.string() });
const groupList = z.looseObject({
  groups: z.array(
    z.looseObject({ name: z.string(), versions: z.array(groupVersion), preferredVersion: groupVersion }),
  ),
});
const resourceList = z.looseObject({
  resources: z.array(
    z.looseObject({
      name: z.string(),
      kind: z.string(),
      namespaced: z.boolean(),
      verbs: z.array(z.string()).catch([]),
    }),
  ),
});

/** The resources of some API groups that a cluster serves, in their preferred versions. */
export class ServedResources {
  readonly #resources: readonly Resource<CustomResource>[];

  private constructor(resources: readonly Resource<CustomResource>[]) {
    this.#resources = resources;
  }

  /**
   * Asks the API server. The core group has the empty name.
   * @param onFailure called with what could not be asked, and why
   * @throws ApiError if the API server does not list its groups
   */
  static async discover(
    client: ApiClient,
    groups: readonly string[],
    { signal, onFailure }: { signal: AbortSignal; onFailure: (what: string, error: unknown) => void },
  ): Promise<ServedResources> {
    const served = groupList.parse(await client.request({ method: 'GET', path: '/apis', signal }));
    const versions = new Map(
      served.groups.map(({ name, versions: all, preferredVersion }) => [
        name,
        // Not every version has every resource of its group.
        new Set([preferredVersion, ...all].map(({ version }) => version)),
      ]),
    );
    const found = new Map<string, Resource<CustomResource>>();
    for (const group of groups) {
      for (const version of group === '' ? ['v1'] : (versions.get(group) ?? [])) {
        const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
        try {
          const { resources } = resourceList.parse(await client.request({ method: 'GET', path, signal }));
          for (const { name: plural, kind, namespaced, verbs } of resources) {
            const key = `${plural}.${group}`;
            if (verbs.includes('list') && !found.has(key)) {
              found.set(key, { group, version, plural, kind, namespaced });
            }
          }
        } catch (error) {
          signal.throwIfAborted();
          onFailure(`the resources of ${path}`, error);
        }
      }
    }
    return new ServedResources([...found.values()]);
  }

  /** Returns one resource; undefined if the cluster does not have it. */
  find(group: string, plural: string): Resource<CustomResource> | undefined {
    return this.#resources.find((one) => one.group === group && one.plural === plural);
  }

  /** Returns the resources of a group. */
  inGroup(group: string): readonly Resource<CustomResource>[] {
    return this.#resources.filter((one) => one.group === group);
  }
}
