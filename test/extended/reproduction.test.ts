import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { cloneCheckout, makeCleanCheckout, makeDryRun } from '../release/clean-checkout.ts';
import { describeWith } from '../support/programs.ts';
import { createTestKey } from '../support/signing.ts';

/** Milliseconds that two releases may take. */
const patience = 1_800_000;

/** Returns the digests of the files in a folder, but for what the registry of a dry run notes for itself. */
async function digestsIn(place: string): Promise<Record<string, string>> {
  const entries = await readdir(place, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.startsWith(join(place, 'registry')));
  const digests = files.map(async (file) => {
    const digest = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
    return [file.slice(place.length + 1), digest] as const;
  });
  return Object.fromEntries(await Promise.all(digests));
}

describeWith(
  ['buildah', 'skopeo', 'helm', 'kubectl', 'dpkg-deb', 'faketime'],
  'a release',
  ({ faketime }) => {
    let folder: string;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'kmm-sign-release-test-'));
    });
    afterAll(() => rm(folder, { recursive: true, force: true }));

    it(
      'is the same byte for byte in another folder and on another day',
      async () => {
        const places = [join(folder, 'one'), join(folder, 'another/and deeper')] as const;
        await makeCleanCheckout(places[0]);
        await cloneCheckout(...places);
        const key = await createTestKey(folder);
        const common = ['--version', manifest.version, '--to', 'registry.example/kmm-sign'];
        const signing = ['--key', key.key, '--cert', key.certificate];
        const make = async (place: string, through: readonly string[]) => {
          await makeDryRun(place, [...common, ...signing, '--output', `${place}-out`], through);
          return digestsIn(`${place}-out`);
        };
        const first = await make(places[0], []);
        expect(Object.keys(first).length).toBeGreaterThan(100);
        expect(await make(places[1], [faketime, '-f', '+40h'])).toEqual(first);
      },
      patience,
    );
  },
);
