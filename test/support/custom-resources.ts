import { readdirSync, readFileSync } from 'node:fs';
import { vi } from 'vitest';
import { parse } from 'yaml';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import type { KubernetesObject } from '../../src/controller/runtime/object-key.ts';
import type { Resource } from '../../src/controller/runtime/resource.ts';

const directory = new URL('../../deploy/crds/', import.meta.url);

interface Definition extends KubernetesObject {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const definitions: Resource<Definition> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};

/** Applies deploy/crds and waits until the API server serves what they define. */
export async function installCustomResources(client: ApiClient): Promise<void> {
  for (const file of readdirSync(directory)) {
    const definition = parse(readFileSync(new URL(file, directory), 'utf8')) as Definition;
    await client.apply(definitions, definition);
    await vi.waitFor(
      async () => {
        const { status } = await client.get(definitions, { name: definition.metadata.name });
        const established = status?.conditions?.find(({ type }) => type === 'Established');
        if (established?.status !== 'True') throw new Error(`${file} is not established`);
      },
      { timeout: 30_000 },
    );
  }
}
