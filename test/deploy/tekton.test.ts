import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { describeWith } from '../support/programs.ts';
import { deployDirectory } from './manifests.ts';

const directory = `${deployDirectory}tekton/`;
const files = readdirSync(directory);

describeWith(['tekton-validate'], "Tekton's admission", (programs) => {
  /** What Tekton's webhook has against a resource; empty if it accepts it. */
  async function objections(resource: string): Promise<string> {
    const child = spawn(programs['tekton-validate']);
    child.stdin.end(resource);
    return text(child.stderr);
  }

  it.each(files)('accepts %s, but not with a parameter that is not declared', async (file) => {
    const resource = await readFile(`${directory}${file}`, 'utf8');
    expect(await objections(resource)).toBe('');
    const wrong = resource.replace('$(params.FILES)', '$(params.FILE)');
    expect(await objections(wrong)).toContain('non-existent variable');
    expect(await objections(resource.replace('allowPrivilegeEscalation', 'privilegeEscalation'))).toContain(
      'unknown field',
    );
  });
});
