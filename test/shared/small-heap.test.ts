import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);

/** Runs work of which a part lives for some time. Returns the most MiB that the young generation had. */
async function youngGeneration(begin: string): Promise<number> {
  const module = new URL('../../src/shared/small-heap.ts', import.meta.url).href;
  const program = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { keepHeapModerate } from ${JSON.stringify(module)};
    ${begin}
    const kept = [];
    let most = 0;
    for (let turn = 0; turn < 600; turn += 1) {
      kept.push(Array.from({ length: 10_000 }, (_, index) => ({ index, text: String(index) })));
      if (kept.length > 30) kept.shift();
      await new Promise(setImmediate);
      const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
      most = Math.max(most, young.space_size / 2 ** 20);
    }
    console.log(most);`;
  // Had it to be ended, it would be an error.
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program]);
  return Number(stdout);
}

test('a moderate heap has a young generation of some MiB, which does not keep a program from ending', async () => {
  const [usual, moderate] = await Promise.all([youngGeneration(''), youngGeneration('keepHeapModerate();')]);
  expect(usual).toBeGreaterThan(40);
  expect(moderate).toBeLessThan(40);
  // To collect a tiny one all the time would cost more than it saves.
  expect(moderate).toBeGreaterThan(4);
});
