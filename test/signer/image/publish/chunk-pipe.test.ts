import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ChunkPipe } from '../../../../src/signer/image/publish/chunk-pipe.ts';

const chunk = (text: string): Buffer => Buffer.from(text);

/** Whether a promise settles before a turn of the event loop is over. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  return (await Promise.race([promise, setImmediate(pending)])) !== pending;
}

describe('ChunkPipe', () => {
  it('lets the writer go on only when the reader asks for more', async () => {
    const pipe = new ChunkPipe();
    const chunks = pipe.chunks();
    const written = pipe.write(chunk('a'));
    expect((await chunks.next()).value).toEqual(chunk('a'));
    expect(await isSettled(written)).toBe(false);
    const second = chunks.next();
    await written;
    void pipe.write(chunk('b'));
    expect((await second).value).toEqual(chunk('b'));
    pipe.end();
    expect((await chunks.next()).done).toBe(true);
  });

  it('fails the reader as the writer failed', async () => {
    const pipe = new ChunkPipe();
    const chunks = pipe.chunks();
    const next = chunks.next();
    pipe.fail(new Error('no space left'));
    await expect(next).rejects.toThrow('no space left');
  });

  it('does not hold up the writer when the reader stops, or never begins', async () => {
    const stopped = new ChunkPipe();
    const chunks = stopped.chunks();
    const written = stopped.write(chunk('a'));
    await chunks.next();
    await chunks.return(undefined);
    await expect(written).resolves.toBeUndefined();
    const unread = new ChunkPipe();
    const waiting = unread.write(chunk('a'));
    unread.close();
    await expect(waiting).resolves.toBeUndefined();
    await expect(unread.write(chunk('b'))).resolves.toBeUndefined();
  });
});
