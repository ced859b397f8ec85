import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { vi } from 'vitest';
import { customResourceDefinitions } from '../../../src/api/crd/definitions.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import type { KubernetesObject } from '../../../src/controller/runtime/object-key.ts';
import type { Resource } from '../../../src/controller/runtime/resource.ts';
import { cacheDirectory } from '../programs.ts';

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

/** Makes Open Cluster Management's resources and ours known to an API server. */
export async function installDefinitions(client: ApiClient): Promise<void> {
  const all = [...openClusterManagement(), ...(customResourceDefinitions() as unknown as Definition[])];
  for (const definition of all) {
    // Its own files have fields that newer API servers do not know.
    await client.apply(definitions, definition, { fieldValidation: 'Ignore', force: true });
  }
  await vi.waitFor(
    async () => {
      for (const { metadata } of all) {
        const { status } = await client.get(definitions, { name: metadata.name });
        const established = status?.conditions?.find(({ type }) => type === 'Established');
        if (established?.status !== 'True') throw new Error(`${metadata.name} is not established`);
      }
    },
    { timeout: 60_000, interval: 100 },
  );
}

/** As its API module has them. */
function openClusterManagement(): Definition[] {
  const folder = join(cacheDirectory, 'ocm-crds');
  if (!existsSync(folder))
    throw new Error('the CRDs of Open Cluster Management are missing (npm run assets)');
  return readdirSync(folder).map((file) => parse(readFileSync(join(folder, file), 'utf8')) as Definition);
}
