// Writes the CustomResourceDefinitions below deploy/ from the schemas in src/api, and copies what the chart needs of the
// manifests for Node Feature Discovery, since Helm reads nothing outside of a chart. Runs on the project's own Node.
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { manifestFiles } from '../src/api/crd/manifest-files.ts';

const directory = fileURLToPath(new URL('../deploy/', import.meta.url));
for (const { path, content } of manifestFiles()) {
  const file = join(directory, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
}

const isWanted = (path) => !path.endsWith('/kustomization.yaml');
const copies = join(directory, 'chart/kmm-sign/nfd');
rmSync(copies, { recursive: true, force: true });
for (const [from, to] of [
  ['nfd', 'objects'],
  ['overlays/nfd-openshift', 'openshift'],
  ['nfd-crds/openshift', 'definitions'],
  ['nfd-crds/upstream', 'definitions'],
]) {
  cpSync(join(directory, from), join(copies, to), { recursive: true, filter: isWanted });
}
