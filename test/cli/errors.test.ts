import { expect, test } from 'vitest';
import { describeError, formatError } from '../../src/cli/output/errors.ts';
import { RegistryError } from '../../src/registry/model/errors.ts';

const missing = new RegistryError({
  code: 'NOT_FOUND',
  message: 'There is no such image',
  hint: 'Check the tag.',
});

test('the first failure is reported, not that of tidying up after it', () => {
  const error = new SuppressedError(new Error('closing failed'), missing);
  expect(describeError(error)).toMatchObject({ code: 'NOT_FOUND', exitCode: 3 });
});

test('an error of the operating system is none of ours', () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    syscall: 'write',
  });
  expect(describeError(full)).toEqual({ code: 'ENOSPC', message: full.message, exitCode: 1 });
});

test('text is a line with the message and one with the hint', () => {
  expect(formatError(describeError(missing), 'text')).toBe(
    'kmm-sign: There is no such image\nhint: Check the tag.',
  );
});

test('a message from outside cannot drive the terminal', () => {
  expect(formatError(describeError(new Error('\u001B[2Jgone')), 'text')).not.toContain('\u001B');
});
