import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as z from 'zod';

const buildScript = fileURLToPath(new URL('../../scripts/build.js', import.meta.url));
const metafileSchema = z.object({
  outputs: z.record(
    z.string(),
    z.object({ inputs: z.record(z.string(), z.object({ bytesInOutput: z.number() })) }),
  ),
});

describe('the bundle', () => {
  let folder: string;
  /** Bytes that each source file has in the bundles, by its path. */
  const bytes = new Map<string, number>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    execFileSync(process.execPath, [buildScript, '--no-source-maps', `--outdir=${folder}`]);
    const { outputs } = metafileSchema.parse(
      JSON.parse(await readFile(join(folder, 'metafile.json'), 'utf8')),
    );
    for (const { inputs } of Object.values(outputs))
      for (const [path, { bytesInOutput }] of Object.entries(inputs))
        if (bytesInOutput > 0) bytes.set(path, (bytes.get(path) ?? 0) + bytesInOutput);
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  function pathsWith(part: string): string[] {
    return Array.from(bytes.keys()).filter((path) => path.includes(part));
  }

  test('has the parts that it is made of', () => {
    expect(pathsWith('src/cli/run.ts')).toHaveLength(1);
    expect(pathsWith('node_modules/@kubernetes/client-node/dist/config.js')).toHaveLength(1);
  });

  test('has the English messages of zod and those of no other language', () => {
    const locales = pathsWith('node_modules/zod/v4/locales/');
    const languages = locales.filter((path) => !path.endsWith('/index.js'));
    expect(languages).toEqual(['node_modules/zod/v4/locales/en.js']);
  });

  test('has nothing of the generated Kubernetes client, nor what that client sends requests with', () => {
    expect(pathsWith('node_modules/@kubernetes/client-node/dist/gen/')).toEqual([]);
    expect(pathsWith('node_modules/undici/')).toEqual([]);
  });

  test('has no source maps where none are asked for', async () => {
    const files = await readdir(folder);
    expect(files).toContain('cli.cjs');
    expect(files.filter((name) => name.endsWith('.map'))).toEqual([]);
    expect(await readFile(join(folder, 'cli.cjs'), 'utf8')).not.toContain('sourceMappingURL');
  });
});
