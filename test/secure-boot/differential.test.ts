import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeWith } from '../support/programs.ts';
import { type LoadResult, loadUnderSecureBoot } from './load-under-secure-boot.ts';
import { judgementOf } from './variants/agreement.ts';
import { enrolledCertificates, makeVariantKeys, type VariantKeys } from './variants/keys.ts';
import { exceptions, observed } from './variants/observed.ts';
import { makeVariants, type Variants } from './variants/variants.ts';

const hello = readFileSync(join(import.meta.dirname, '../../fixtures/hello/hello.ko'));

describeWith(
  ['qemu-system-x86_64', 'apt-get', 'dpkg-deb', 'openssl'],
  'a kernel and the verdict on a signature agree:',
  ({ openssl }) => {
    let directory: string;
    let keys: VariantKeys;
    let variants: Variants;
    let results: Map<string, LoadResult>;

    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
      keys = makeVariantKeys(openssl, directory);
      variants = makeVariants(hello, keys);
      const modules = [...variants].map(([name, bytes]) => ({ name, bytes }));
      const loaded = await loadUnderSecureBoot({ modules, certificates: enrolledCertificates(keys) });
      results = new Map(loaded.map((result) => [result.name, result]));
    }, 600_000);
    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    test('on every variant that there is', () => {
      expect([...results.keys()].toSorted()).toEqual(Object.keys(observed).toSorted());
    });

    test.each(Object.entries(observed))('on %s', async (name, error) => {
      expect(results.get(name)).toMatchObject({ loaded: error === null, error });
      const judgement = await judgementOf(variants.get(name), enrolledCertificates(keys), error);
      expect(judgement).toMatchObject(exceptions.get(name) ?? { loads: error === null, error });
    });
  },
);
