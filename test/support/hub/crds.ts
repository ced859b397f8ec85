import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { installCustomResources, installDefinitions, type Definition } from '../custom-resources.ts';
import { cacheDirectory } from '../programs.ts';

/** Makes Open Cluster Management's resources and ours known to an API server. */
export async function installHubResources(client: ApiClient): Promise<void> {
  await installDefinitions(client, openClusterManagement());
  await installCustomResources(client);
}

/** As its API module has them. */
function openClusterManagement(): Definition[] {
  const folder = join(cacheDirectory, 'ocm-crds');
  if (!existsSync(folder))
    throw new Error('the CRDs of Open Cluster Management are missing (npm run assets)');
  return readdirSync(folder).map((file) => parse(readFileSync(join(folder, file), 'utf8')) as Definition);
}
