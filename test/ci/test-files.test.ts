import { expect, it } from 'vitest';
import { sortTestFiles } from '../support/test-files.ts';

it('knows which tests run the program that is built, by themselves or through what they import', () => {
  const { program, sources } = sortTestFiles();
  expect(program).toEqual(
    expect.arrayContaining([
      'test/cli/launcher.test.ts',
      'test/faults/killed-runs.test.ts',
      'test/end-to-end/build-and-sign.test.ts',
      'test/controller/operator/operator.test.ts',
    ]),
  );
  expect(sources).toEqual(
    expect.arrayContaining(['test/signer/model/patterns.test.ts', 'test/registry/layer/decompress.test.ts']),
  );
});
