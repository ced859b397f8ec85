import { setFlagsFromString } from 'node:v8';

const flags = ['--semi-space-growth-factor=1', '--heap-growing-percent=120'];
let isDone = false;

/**
 * Keeps V8's heaps small from now on, in all threads: most of what is allocated lives briefly, which a growing young
 * generation would only retain. It slows down what is not large, so whoever does little does without.
 */
export function keepHeapSmall(): void {
  if (isDone) return;
  isDone = true;
  for (const flag of flags) setFlagsFromString(flag);
}
