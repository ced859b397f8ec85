import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { installCustomResources, installDefinitions, type Definition } from '../custom-resources.ts';
import { cacheDirectory } from '../programs.ts';

/** Installs Open Cluster Management's resources and ours on an API server. */
export async function installHubResources(client: ApiClient): Promise<void> {
  await installDefinitions(client, readDefinitions('ocm-crds'));
  await installCustomResources(client);
}

/** Reads third-party definitions from their Go module. `part` is one of `npm run assets`. */
export function readDefinitions(part: string): Definition[] {
  const folder = join(cacheDirectory, part);
  if (!existsSync(folder)) throw new Error(`${part} are missing (npm run assets)`);
  return readdirSync(folder).map((file) => parse(readFileSync(join(folder, file), 'utf8')) as Definition);
}
