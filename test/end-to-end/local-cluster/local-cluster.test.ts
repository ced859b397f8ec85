import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith } from '../../support/programs.ts';
import { operatorWorldPrograms } from '../operator-world.ts';

const program = fileURLToPath(new URL('main.ts', import.meta.url));

async function run(env: Readonly<Record<string, string>>): Promise<string> {
  const all = { ...process.env, ...env };
  return (await promisify(execFile)(process.execPath, [program], { env: all })).stdout;
}

describeWith(operatorWorldPrograms, 'the local cluster of the README', () => {
  let directory: TemporaryDirectory;
  let output: string;

  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    output = await run({ TMPDIR: directory.path });
  });
  afterAll(() => directory?.[Symbol.asyncDispose]());

  it('tells the phases as they come', () => {
    const phases = [...output.matchAll(/^ +[\d.]+ s {2}(\w+)/gm)].map(([, phase]) => phase);
    expect(phases.filter((phase) => phase !== 'Pending' && phase !== 'Checking')).toEqual([
      'Building',
      'Signing',
      'Ready',
    ]);
  });

  it('shows the Module, the signer of its image, and the node that has it', () => {
    expect(output).toMatch(/^export KUBECONFIG=\S+$/m);
    expect(output).toMatch(/^example-module +True +Loaded +1 +1 /m);
    expect(output).toMatch(/^\$ npx kmm-sign verify \S+@sha256:[0-9a-f]{64} --cert \S+\ntrusted {2}/m);
    expect(output).toMatch(/^\$ modinfo -F signer \S+\nExample kernel module signing key$/m);
    expect(output).toMatch(/^\$ kubectl get nodes .*\n.*\nworker-0 +Ready /m);
  });

  it('leaves nothing behind', async () => {
    expect(await readdir(directory.path)).toEqual([]);
  });
});

describe('the local cluster on a machine without its programs', () => {
  it('says what to install, in one line, and gets nothing', async () => {
    await using cache = await createTemporaryDirectory();
    const env = { PATH: '', XDG_CACHE_HOME: cache.path, KUBEBUILDER_ASSETS: '' };
    const line =
      /^Programs are missing: apt-get install --no-install-recommends .*\bskopeo umoci buildah\b.*\bdocker-registry$/m;
    await expect(run(env)).rejects.toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(line) as string,
    });
    expect(await readdir(cache.path)).toEqual([]);
  });
});
