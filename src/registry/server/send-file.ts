import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import type { ByteRange } from './exchange.ts';

/** Bytes read from disk at a time: half as many would cost a quarter more CPU time. */
const readSize = 256 * 1024;

/** The same for responses beyond those that {@link maxLarge} is enough for, however many clients are slow. */
const smallReadSize = 64 * 1024;

/** The most buffers of `readSize`, two for a response; they are kept for the next responses. */
const maxLarge = 16;

/** Those that exist. */
let large = 0;

/** Those that no response is using. */
const spare: Buffer[] = [];

/**
 * Sends a part of a file as the body of a response, and ends it. Two buffers take turns: one is filled while
 * the other one is sent. A read stream would allocate a buffer for every piece: half as much CPU time again,
 * and twice the memory.
 * @throws Error if the file is shorter than the range, or the connection breaks
 */
export async function sendFile(
  handle: FileHandle,
  { start, end }: ByteRange,
  response: ServerResponse,
): Promise<void> {
  const buffers = [takeBuffer(), takeBuffer()] as const;
  let isSent = false;
  try {
    await sendInTurns(handle, { start, end }, response, buffers);
    isSent = true;
  } finally {
    for (const buffer of buffers) returnBuffer(buffer, isSent);
  }
  response.end();
}

async function sendInTurns(
  handle: FileHandle,
  { start, end }: ByteRange,
  response: ServerResponse,
  buffers: readonly [Buffer, Buffer],
): Promise<void> {
  const writes = new PendingWrites(response);
  const turns = [Promise.resolve(), Promise.resolve()] as [Promise<void>, Promise<void>];
  let turn: 0 | 1 = 0;
  for (let position = start; position <= end; turn = turn === 0 ? 1 : 0) {
    await turns[turn];
    const length = Math.min(buffers[turn].length, end - position + 1);
    const { bytesRead } = await handle.read(buffers[turn], 0, length, position);
    if (bytesRead === 0) throw new Error('the file is shorter than when it was opened');
    position += bytesRead;
    turns[turn] = writes.write(buffers[turn].subarray(0, bytesRead));
  }
  await turns[0];
  await turns[1];
}

function takeBuffer(): Buffer {
  const buffer = spare.pop();
  if (buffer !== undefined) return buffer;
  if (large === maxLarge) return Buffer.allocUnsafeSlow(smallReadSize);
  large += 1;
  return Buffer.allocUnsafeSlow(readSize);
}

/** Takes a buffer back. One that was not sent is left to the garbage collector: the connection may still be reading it. */
function returnBuffer(buffer: Buffer, isSent: boolean): void {
  if (buffer.length !== readSize) return;
  if (isSent) spare.push(buffer);
  else large -= 1;
}

/** Writes whose bytes the connection has not passed on yet. */
class PendingWrites {
  readonly #response: ServerResponse;
  readonly #pending = new Set<(reason: Error) => void>();

  constructor(response: ServerResponse) {
    this.#response = response;
    // A connection that breaks before it gets to a response drops its writes without a word.
    response.once('close', () => {
      for (const reject of this.#pending) reject(new Error('the connection was closed'));
    });
  }

  /** Writes bytes. They may be overwritten once the promise has settled. */
  write(bytes: Buffer): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Until somebody waits for it, a failure is nobody's.
    promise.catch(() => {});
    this.#pending.add(reject);
    this.#response.write(bytes, (error) => {
      this.#pending.delete(reject);
      if (error) reject(error);
      else resolve();
    });
    return promise;
  }
}
