import { setTimeout as sleep } from 'node:timers/promises';
import { customResourceDefinitions } from '../../src/api/crd/definitions.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import type { KubernetesObject } from '../../src/controller/runtime/api/object-key.ts';
import type { Resource } from '../../src/controller/runtime/api/resource.ts';

/** A CustomResourceDefinition, with the fields that tests use. */
export interface Definition extends KubernetesObject {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export const definitions: Resource<Definition> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};

/** Installs our resources, those of deploy/crds, on an API server. */
export async function installCustomResources(client: ApiClient): Promise<void> {
  await installDefinitions(client, customResourceDefinitions() as unknown as Definition[]);
}

/** Applies CustomResourceDefinitions and waits until the API server serves their resources. */
export async function installDefinitions(client: ApiClient, all: readonly Definition[]): Promise<void> {
  for (const definition of all) {
    // Third-party ones have fields that newer API servers do not know.
    await client.apply(definitions, definition, { fieldValidation: 'Ignore', force: true });
  }
  const deadline = performance.now() + 60_000;
  for (const { metadata } of all) {
    while (!(await isServed(client, metadata.name))) {
      if (performance.now() > deadline) throw new Error(`${metadata.name} is not established`);
      await sleep(100);
    }
  }
}

async function isServed(client: ApiClient, name: string): Promise<boolean> {
  const { status } = await client.get(definitions, { name });
  return status?.conditions?.find(({ type }) => type === 'Established')?.status === 'True';
}
