import { randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryClient } from '../../src/registry/client.ts';
import { finished, runProgram, startProgram } from '../cli/run-program.ts';
import { storeImage, withParents } from '../support/images.ts';
import { findProgram } from '../support/programs.ts';
import { startEmbedded, type TestRegistry } from '../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../support/signing.ts';

/** Runs a command on a file system of $SIZE that nobody else sees; 99 when it leaves something there. */
const onSmallDisk = `
mount -t tmpfs -o "size=$SIZE" none "$TMPDIR"
"$@"
status=$?
test -z "$(ls -A "$TMPDIR")" || exit 99
exit $status`;

/** Why this process may not mount; null when it may. */
const whyNoMount = ((): string | null => {
  const unshare = findProgram('unshare');
  if (unshare === undefined) return ' [unshare is missing: Debian package util-linux]';
  const script = ['--mount', 'sh', '-c', 'mount -t tmpfs none "$1"', 'sh', tmpdir()];
  return spawnSync(unshare, script, { stdio: 'ignore' }).status === 0 ? null : ' [mounting is not allowed]';
})();

describe('a temporary directory that cannot be used', () => {
  let folder: string;
  let registry: TestRegistry;
  let key: TestKey;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-disk-'));
    registry = await startEmbedded();
    key = await createTestKey(folder);
    const client = new RegistryClient({ plainHttp: true, credentials: {} });
    const source = client.repository({ registry: registry.host, repository: 'vendor/driver' });
    const entries = [
      ...withParents('m/a.ko', await helloModule),
      { name: 'm/firmware', content: randomBytes(300_000) },
    ];
    await storeImage(source, { layers: [{ entries }] }, '1.0');
    await client.close();
  });

  afterAll(async () => {
    await registry.close();
    await rm(folder, { recursive: true, force: true });
  });

  const signArguments = (tag: string, mode: string) =>
    [
      ['sign', `${registry.host}/vendor/driver:1.0`, `${registry.host}/vendor/driver:${tag}`],
      ['--plain-http', '--format', 'json', '--quiet', '--mode', mode],
      ['--key', key.key, '--cert', key.certificate],
    ].flat();

  async function tagExists(tag: string): Promise<boolean> {
    const { exitCode } = await runProgram([
      'exists',
      `${registry.host}/vendor/driver:${tag}`,
      '--plain-http',
    ]);
    return exitCode !== 3;
  }

  test('is named when it does not exist', async () => {
    const missing = join(folder, 'missing');
    const { exitCode, stderr } = await runProgram(signArguments('missing', 'rewrite'), {
      env: { TMPDIR: missing },
    });
    expect(exitCode).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'FILE_ERROR', facts: { path: missing, reason: 'ENOENT' } },
    });
    expect(await tagExists('missing')).toBe(false);
  });

  // Room for nothing, for the module, and for one copy of the layer but not for the second.
  test.skipIf(whyNoMount !== null).each([
    ['rewrite', '4k'],
    ['rewrite', '64k'],
    ['rewrite', '500k'],
    ['append', '4k'],
  ])(`is named when it is full (%s, %s)${whyNoMount ?? ''}`, async (mode, size) => {
    const full = join(folder, `${mode}-${size}`);
    await mkdir(full);
    const tag = `full-${mode}-${size}`;
    const child = startProgram(signArguments(tag, mode), {
      env: { TMPDIR: full, SIZE: size },
      through: [findProgram('unshare') ?? '', '--mount', 'sh', '-c', onSmallDisk, 'sh'],
    });
    const { exitCode, stderr } = await finished(child);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('FILE_ERROR')]);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'FILE_ERROR', facts: { path: full, reason: 'ENOSPC' } },
    });
    expect(await tagExists(tag)).toBe(false);
  });
});
