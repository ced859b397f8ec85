import { expect, test, vi } from 'vitest';
import { ContentsMemory } from '../../../src/registry/layer/contents-memory.ts';
import { ContentsRecorder, type LayerIdentity } from '../../../src/registry/layer/layer-contents.ts';
import { digestOf } from '../../../src/registry/model/digest.ts';

const identify = (name: string): LayerIdentity => ({
  digest: digestOf(name),
  size: 4,
  diffId: digestOf('tar'),
});

/** A recording of a layer with one file of this name. */
function recordFile(path: string): ContentsRecorder {
  const recorder = new ContentsRecorder();
  recorder.add({ path, type: 'file', linkName: '' });
  return recorder;
}

async function find(memory: ContentsMemory, layer: LayerIdentity): Promise<string[] | undefined> {
  return (await memory.find(layer))?.entries.map(({ path }) => path);
}

async function keep(memory: ContentsMemory, name: string): Promise<void> {
  memory.store(identify(name), recordFile(name));
  await vi.waitFor(async () => expect(await find(memory, identify(name))).toEqual([name]));
}

test('what a layer contains is found by its digest, size and diff ID together', async () => {
  const memory = new ContentsMemory();
  await keep(memory, 'a');
  expect(await find(memory, { ...identify('a'), size: 5 })).toBeUndefined();
  expect(await find(memory, { ...identify('a'), diffId: digestOf('other') })).toBeUndefined();
  expect(await find(memory, identify('b'))).toBeUndefined();
});

test('records that were used least recently go first, and one that is too large is not kept', async () => {
  const size = (await recordFile('a').encode('a'))?.length ?? 0;
  // The keys are longer: enough for two records, and not for three.
  const memory = new ContentsMemory(5 * size);
  await keep(memory, 'a');
  await keep(memory, 'b');
  await find(memory, identify('a'));
  await keep(memory, 'c');
  const left = async (): Promise<unknown[]> =>
    Promise.all(['a', 'b', 'c'].map((name) => find(memory, identify(name))));
  expect(await left()).toEqual([['a'], undefined, ['c']]);
  const large = new ContentsRecorder();
  for (let index = 0; index < 1000; index += 1)
    large.add({ path: crypto.randomUUID(), type: 'file', linkName: '' });
  memory.store(identify('large'), large);
  await keep(memory, 'd');
  expect(await find(memory, identify('large'))).toBeUndefined();
});

test('a record keeps no more memory than its length, which is what the limit counts', async () => {
  const record = await recordFile('a').encode('a');
  expect(record?.length).toBeGreaterThan(0);
  expect(record?.buffer.byteLength).toBe(record?.length);
});
