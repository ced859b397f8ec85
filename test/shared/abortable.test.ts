import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { abortable, sleep, whenAborted } from '../../src/shared/abortable.ts';
import { once } from '../../src/shared/flights.ts';

const run = promisify(execFile);

/** What a program ends with that imports `abortable`: Node ends one with an unhandled rejection in code 1. */
async function runProgram(source: string): Promise<string> {
  const module = fileURLToPath(new URL('../../src/shared/abortable.ts', import.meta.url));
  const program = `import { abortable } from ${JSON.stringify(module)};\n${source}\nconsole.log('alive');`;
  return (await run(process.execPath, ['--input-type=module', '--eval', program])).stdout.trim();
}

describe('work that is waited for with a signal', () => {
  it('returns its result, or its own error', async () => {
    const { signal } = new AbortController();
    await expect(abortable(Promise.resolve(7), signal)).resolves.toBe(7);
    await expect(abortable(Promise.reject(new Error('broken')), signal)).rejects.toThrow('broken');
    await expect(abortable(Promise.resolve(8), undefined)).resolves.toBe(8);
  });

  it('is left alone when the signal is aborted, for the reason of the signal', async () => {
    const stop = new AbortController();
    const waiting = abortable(new Promise(() => {}), stop.signal);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });

  it.each([
    ['before', "abortable(work.promise, AbortSignal.abort(new Error('enough'))).catch(() => {});"],
    [
      'while it is waited for',
      "abortable(work.promise, stop.signal).catch(() => {}); stop.abort(new Error('enough'));",
    ],
  ])('may fail after the signal was aborted %s without ending the process', async (_, wait) => {
    const source = `const work = Promise.withResolvers(); const stop = new AbortController();
      ${wait}
      await null;
      work.reject(new Error('late'));
      await new Promise((resolve) => setImmediate(resolve));`;
    expect(await runProgram(source)).toBe('alive');
  });
});

it('waiting for a signal ends when it is aborted, and at once when it was', async () => {
  const stop = new AbortController();
  const waiting = whenAborted(stop.signal);
  stop.abort(new Error('enough'));
  await expect(Promise.all([waiting, whenAborted(stop.signal)])).resolves.toHaveLength(2);
});

it('a wait that is aborted ends with the reason of the signal', async () => {
  const stop = new AbortController();
  const waiting = sleep(1_000_000, stop.signal);
  stop.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});

it('work that is done once is done again only after it failed', async () => {
  const outcomes = [false, true, false];
  let calls = 0;
  const read = once(async () => {
    calls += 1;
    await Promise.resolve();
    if (outcomes.shift() !== true) throw new Error('broken');
    return calls;
  });
  await expect(read()).rejects.toThrow('broken');
  await expect(Promise.all([read(), read()])).resolves.toEqual([2, 2]);
  await expect(read()).resolves.toBe(2);
});
