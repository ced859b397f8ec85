import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { bufferSource } from '../../../../src/shared/byte-source.ts';
import type { PlannedModule } from '../../../../src/signer/image/plan/plan-modules.ts';
import type { SigningRun } from '../../../../src/signer/image/plan/signing-run.ts';
import { signModules } from '../../../../src/signer/image/publish/sign-modules.ts';
import { useSigningBench } from '../../../support/signing.ts';

const bench = useSigningBench();

/** Modules whose signing puts their position into a list when it begins. */
function modulesThatTell(begun: number[]): PlannedModule[] {
  return Array.from({ length: availableParallelism() + 3 }, (_, at) => {
    const module = {
      layout: { contentSize: bench.hello.length },
      get unpacked() {
        begun.push(at);
        return bufferSource(bench.hello);
      },
    };
    return { action: 'signed', module } as unknown as PlannedModule;
  });
}

const refusing = { algorithm: 'rsa', bits: 2048, signDigest: () => Promise.reject(new Error('no')) };

test.each([
  [
    'a key in a token',
    1,
    () => ({ signFile: { ...bench.key, program: '/nowhere', key: 'pkcs11:object=a' } }),
  ],
  ['another key', availableParallelism(), () => ({ signer: { ...bench.key.signer, key: refusing } })],
])('no further module is signed after a failure (%s)', async (_, atOnce, options) => {
  const { signal } = new AbortController();
  const run = { hash: 'sha256', identifierForm: 'issuer-and-serial', signal, ...options() };
  const begun: number[] = [];
  const signing = signModules(modulesThatTell(begun), run as unknown as SigningRun, () => {});
  await expect(signing).rejects.toThrow(/\/nowhere|no/);
  // What was waiting would have begun at once.
  await setImmediate();
  expect(begun).toEqual(Array.from({ length: atOnce }, (__, at) => at));
});
