import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { judgementOf } from '../../secure-boot/variants/agreement.ts';
import { enrolledCertificates, makeVariantKeys, type VariantKeys } from '../../secure-boot/variants/keys.ts';
import { exceptions, observed } from '../../secure-boot/variants/observed.ts';
import { makeVariants, type Variants } from '../../secure-boot/variants/variants.ts';
import { describeWith } from '../../support/programs.ts';

const hello = readFileSync(join(import.meta.dirname, '../../../fixtures/hello/hello.ko'));

describeWith(['openssl'], 'the verdict is what a kernel under Secure Boot was seen to say', ({ openssl }) => {
  let directory: string;
  let keys: VariantKeys;
  let variants: Variants;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));
    keys = makeVariantKeys(openssl, directory);
    variants = makeVariants(hello, keys);
  }, 120_000);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('of every variant', () => {
    expect([...variants.keys()].toSorted()).toEqual(Object.keys(observed).toSorted());
  });

  test.each(Object.entries(observed))('of %s', async (name, error) => {
    const judgement = await judgementOf(variants.get(name), enrolledCertificates(keys), error);
    expect(judgement).toMatchObject(exceptions.get(name) ?? { loads: error === null, error });
  });
});
