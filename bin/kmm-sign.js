#!/usr/bin/env node
import { launch } from './launch.js';

await launch({
  name: 'kmm-sign',
  bundle: 'cli.js',
  launcher: import.meta.url,
  flags: [
    // Most of what passes through is short-lived buffers: a young generation that grows only holds on to them.
    '--semi-space-growth-factor=1',
    // The heap stays small, and what is outside of it is given back at once: collecting seldom is enough.
    '--heap-growing-percent=120',
  ],
});
