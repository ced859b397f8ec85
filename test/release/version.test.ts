import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import manifest from '../../package.json' with { type: 'json' };
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const { version } = manifest;
const built = { commit: '0123456789abcdef0123456789abcdef01234567', date: '2026-11-26T12:00:00Z' };

describe('the version', () => {
  it('is the same wherever it is written down', async () => {
    const { version: chart, appVersion } = parse(
      await readFile(join(root, 'deploy/chart/kmm-sign/Chart.yaml'), 'utf8'),
    ) as Record<string, string>;
    const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
      version: string;
      packages: Record<string, { version: string }>;
    };
    expect([chart, appVersion, lock.version, lock.packages['']?.version]).toEqual(Array(4).fill(version));
    const { stdout } = await run(
      'grep',
      ['-rhoE', 'kmm-sign/[a-z-]+:[0-9][0-9A-Za-z.-]*', 'deploy', 'docs'],
      {
        cwd: root,
      },
    );
    const images = stdout.trim().split('\n');
    expect(images.length).toBeGreaterThan(5);
    expect(images.filter((image) => !image.endsWith(`:${version}`))).toEqual([]);
  });
});

describe('a program', () => {
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    directory = await createTemporaryDirectory();
    const SOURCE_DATE_EPOCH = String(Date.parse(built.date) / 1000);
    const env = { ...process.env, KMM_SIGN_COMMIT: built.commit, SOURCE_DATE_EPOCH };
    await run(process.execPath, [join(root, 'scripts/build.js'), `--outdir=${directory.path}`], { env });
  });
  afterAll(() => directory?.[Symbol.asyncDispose]());

  async function output(bundle: string, ...args: string[]): Promise<string> {
    return (await run(process.execPath, [join(directory.path, bundle), 'version', ...args])).stdout;
  }

  it.each(['cli.cjs', 'operator.js'])('tells what it was built from: %s', async (bundle) => {
    expect(await output(bundle)).toBe(`${version}\ncommit ${built.commit}\ndate ${built.date}\n`);
  });

  it.each([
    ['cli.cjs', '--format', 'json'],
    ['operator.js', '--json'],
  ])('tells it as JSON, too: %s %s', async (bundle, ...args) => {
    const { node } = process.versions;
    expect(JSON.parse(await output(bundle, ...args))).toMatchObject({ version, ...built, node });
  });
});
