// Writes deploy/crds from the schemas in src/api. Runs on the Node that the project brings.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { manifestFiles } from '../src/api/crd/manifest-files.ts';

const directory = fileURLToPath(new URL('../deploy/crds/', import.meta.url));
mkdirSync(directory, { recursive: true });
for (const { name, content } of manifestFiles()) writeFileSync(join(directory, name), content);
