import type { V1CustomResourceDefinition } from '@kubernetes/client-node';
import { stringify } from 'yaml';
import { customResourceDefinitions } from './definitions.ts';
import { nfdDefinitions } from './nfd-definitions.ts';

/** A file to write. */
export interface ManifestFile {
  /** Path below deploy/. */
  readonly path: string;
  readonly content: string;
}

const heading = '# This file is written by `npm run crds` from the schemas in src/api.\n';

/** The group of the hub's resources. All others are for the clusters whose nodes load modules. */
const hubGroup = 'hub.kmm.sigs.x-k8s.io';

/**
 * Returns the CustomResourceDefinitions as files: those for clusters in deploy/crds, those for a hub in
 * deploy/hub-crds, and both in the Helm chart, which takes them from nowhere else; those for Node Feature
 * Discovery in deploy/nfd-crds/openshift. The same schemas yield the same bytes.
 */
export function manifestFiles(): ManifestFile[] {
  const manifests = customResourceDefinitions().map((definition) =>
    manifest(definition, definition.spec.group === hubGroup ? 'hub-crds' : 'crds'),
  );
  const ofNfd = nfdDefinitions().map((definition) => manifest(definition, 'nfd-crds/openshift'));
  const kustomizations = ['crds', 'hub-crds'].map((directory) => ({
    path: `${directory}/kustomization.yaml`,
    content: kustomization(manifests.filter((one) => one.directory === directory).map(({ name }) => name)),
  }));
  return [
    ...[...manifests, ...ofNfd].map(({ directory, name, content }) => ({
      path: `${directory}/${name}`,
      content,
    })),
    ...kustomizations,
    ...manifests.map(({ name, content }) => ({ path: `chart/kmm-sign/crds/${name}`, content })),
  ];
}

function manifest(definition: V1CustomResourceDefinition, directory: string) {
  return {
    directory,
    name: `${definition.spec.group}_${definition.spec.names.plural}.yaml`,
    content: heading + stringify(definition, { lineWidth: 0, aliasDuplicateObjects: false }),
  };
}

function kustomization(resources: string[]): string {
  const file = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources };
  return heading + stringify(file);
}
