// Runs in a thread: reads a ring buffer and answers with the digest of its bytes and their number.
import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { updateHash } from '../../src/shared/chunks.ts';
import { readRingBuffer, type RingBuffer } from '../../src/shared/ring-buffer.ts';

const hash = createHash('sha256');
let length = 0;
for (const chunk of readRingBuffer(workerData as RingBuffer)) {
  updateHash(hash, chunk);
  length += chunk.length;
}
parentPort?.postMessage({ digest: hash.digest('hex'), length });
