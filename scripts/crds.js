// Writes the CustomResourceDefinitions below deploy/ from the schemas in src/api. Runs on the project's own
// Node.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { manifestFiles } from '../src/api/crd/manifest-files.ts';

const directory = fileURLToPath(new URL('../deploy/', import.meta.url));
for (const { path, content } of manifestFiles()) {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}
