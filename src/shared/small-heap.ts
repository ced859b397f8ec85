import { PerformanceObserver } from 'node:perf_hooks';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

// By how much the old generation may grow until it is collected again, in percent of what was found alive.
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

/** Bytes of the young generation from which it does not grow any more. V8 alone would let it grow to 64 MB. */
const enoughForYoung = 16 * 1024 ** 2;
const moderateFlags = ['--heap-growing-percent=180', '--no-parallel-scavenge'];

/**
 * Keeps V8's heap moderate from now on, for a program that runs long and mostly waits. Unlike a small heap, it costs hardly
 * any CPU time: the young generation still grows to where it is seldom full, and one thread collects it, since to wake
 * others for so little costs more than they save.
 */
export function keepHeapModerate(): void {
  for (const flag of moderateFlags) setFlagsFromString(flag);
  // V8 takes a limit only at the start of Node. In quiet times it shrinks the generation, which may then grow again.
  const collections = new PerformanceObserver(() => {
    const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space');
    const isEnough = (young?.space_size ?? 0) >= enoughForYoung;
    setFlagsFromString(`--semi-space-growth-factor=${isEnough ? 1 : 2}`);
  });
  collections.observe({ entryTypes: ['gc'] });
}
