// Writes what `kubectl apply` takes: the custom resource definitions, and each overlay, with images by their digests.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kubectl } from './programs.js';
import { run } from './run.js';

/** The folders of deploy/ whose definitions a cluster may need. */
const definitions = { 'crds.yaml': 'crds', 'hub-crds.yaml': 'hub-crds' };

/** Writes the manifests. */
export function writeManifests({ root, output, version }, programs) {
  const folder = join(output, 'manifests');
  mkdirSync(folder);
  const deploy = join(root, 'deploy');
  const write = (name, text) => writeFileSync(join(folder, name), pin(text, version, programs));
  const render = (path) => `${run(kubectl(), ['kustomize', join(deploy, path)])}\n`;
  for (const [name, path] of Object.entries(definitions)) write(name, render(path));
  for (const overlay of readdirSync(join(deploy, 'overlays')))
    write(`${overlay}.yaml`, render(`overlays/${overlay}`));
  for (const name of readdirSync(join(deploy, 'support-bundle')))
    write(`support-bundle-${name}`, readFileSync(join(deploy, 'support-bundle', name), 'utf8'));
  for (const name of readdirSync(join(deploy, 'tekton')))
    write(`tekton-${name}`, readFileSync(join(deploy, 'tekton', name), 'utf8'));
}

/** Replaces the images of a version with some that cannot change. @throws Error if a tag is left */
function pin(text, version, programs) {
  let pinned = text;
  for (const [name, reference] of Object.entries(programs))
    pinned = pinned.replaceAll(`ghcr.io/kmm-sign/${name}:${version}`, reference);
  const left = /ghcr\.io\/kmm-sign\/[a-z-]+:\S*/.exec(pinned);
  if (left !== null) throw new Error(`the image ${left[0]} is not pinned`);
  return pinned;
}
