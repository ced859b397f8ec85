import { stringify } from 'yaml';
import { customResourceDefinitions } from './definitions.ts';

/** A file to write. */
export interface ManifestFile {
  readonly name: string;
  readonly content: string;
}

const heading = '# This file is written by `npm run crds` from the schemas in src/api.\n';

/** The CustomResourceDefinitions as files of deploy/crds. The same schemas give the same bytes. */
export function manifestFiles(): ManifestFile[] {
  return customResourceDefinitions().map((definition) => ({
    name: `${definition.spec.group}_${definition.spec.names.plural}.yaml`,
    content: heading + stringify(definition, { lineWidth: 0, aliasDuplicateObjects: false }),
  }));
}
