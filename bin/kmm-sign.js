#!/usr/bin/env node
import { launch } from './launch.js';

await launch({
  name: 'kmm-sign',
  bundle: 'cli.js',
  launcher: import.meta.url,
  flags: [
    // Most allocations are short-lived buffers, which a growing young generation would only retain.
    '--semi-space-growth-factor=1',
    // The heap stays small, and memory outside of it is freed at once, so infrequent collections are enough.
    '--heap-growing-percent=120',
  ],
});
