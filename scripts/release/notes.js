// Writes the notes of a release: what is new, and what there is by which digest.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes notes.md. */
export function writeNotes({ output, version, commit, registry }, { changes, images, actionCommit }) {
  const rows = Object.entries(images).map(([name, reference]) => `| ${name} | \`${reference}\` |`);
  const text = `${changes}

### Where it is

| | |
| --- | --- |
${rows.join('\n')}
| chart | \`helm install kmm-sign oci://${registry}/charts/kmm-sign --version ${version}\` |
| npm | \`npm install kmm-sign@${version}\` |
| GitHub Action | \`kmm-sign/kmm-sign@${actionCommit}\` |

Made from commit ${commit}; docs/releasing.md says how to make the same again, and compare.
`;
  writeFileSync(join(output, 'notes.md'), text);
}
