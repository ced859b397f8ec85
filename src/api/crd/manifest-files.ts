import { stringify } from 'yaml';
import { customResourceDefinitions } from './definitions.ts';

/** A file to write. */
export interface ManifestFile {
  /** Path inside of deploy/. */
  readonly path: string;
  readonly content: string;
}

const heading = '# This file is written by `npm run crds` from the schemas in src/api.\n';

/** The group of what is for the clusters whose nodes load modules; the hub's is for a hub. */
const clusterGroup = 'kmm.sigs.x-k8s.io';

/**
 * The CustomResourceDefinitions as files: all of them in deploy/crds, and those for clusters in the Helm chart
 * too, since it takes them from nowhere else. The same schemas give the same bytes.
 */
export function manifestFiles(): ManifestFile[] {
  const manifests = customResourceDefinitions().map((definition) => ({
    group: definition.spec.group,
    name: `${definition.spec.group}_${definition.spec.names.plural}.yaml`,
    content: heading + stringify(definition, { lineWidth: 0, aliasDuplicateObjects: false }),
  }));
  const forClusters = manifests.filter(({ group }) => group === clusterGroup);
  return [
    ...manifests.map(({ name, content }) => ({ path: `crds/${name}`, content })),
    { path: 'crds/kustomization.yaml', content: kustomization(forClusters.map(({ name }) => name)) },
    ...forClusters.map(({ name, content }) => ({ path: `chart/kmm-sign/crds/${name}`, content })),
  ];
}

function kustomization(resources: string[]): string {
  const file = { apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources };
  return heading + stringify(file);
}
