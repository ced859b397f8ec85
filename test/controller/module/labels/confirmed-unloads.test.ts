import { describe, expect, it } from 'vitest';
import { ConfirmedUnloads } from '../../../../src/controller/module/labels/confirmed-unloads.ts';
import { indexOf, pod } from './nodes-and-pods.ts';

const modules = indexOf('drivers/a', 'drivers/b');
const ended = { deleting: true, ready: false, terminated: { exitCode: 0, reason: '', message: '' } };
const done = pod({ mode: 'load', facts: ended });
const clean = pod({ mode: 'unload' });

describe('unloading that loaders confirm', () => {
  it('is reported once, by whichever pod, until the module has been loaded again', () => {
    const unloads = new ConfirmedUnloads();
    expect(unloads.take('node', [done], modules)).toEqual(['drivers/a']);
    expect(unloads.take('node', [done, clean], modules)).toEqual([]);
    expect(unloads.take('other', [clean], modules)).toEqual(['drivers/a']);
    unloads.loaded('node', ['drivers/b']);
    expect(unloads.take('node', [clean], modules)).toEqual([]);
    unloads.loaded('node', ['drivers/a']);
    expect(unloads.take('node', [done], modules)).toEqual(['drivers/a']);
  });

  it.each([
    ['is still in the kernel for all that is known', pod({ mode: 'load', facts: { deleting: true } })],
    [
      'could not be unloaded',
      pod({ mode: 'load', facts: { ...ended, terminated: { exitCode: 1, reason: '', message: '' } } }),
    ],
    ['may come again, since its pod stays', pod({ mode: 'load', facts: { ...ended, deleting: false } })],
    ['belongs to a loader of KMM, which does not say', pod({ facts: ended })],
    ['is being unloaded', pod({ mode: 'unload', facts: { ready: false } })],
    ['is used by a device plugin that has ended', pod({ role: 'device-plugin', mode: 'load', facts: ended })],
  ])('is not reported of a module that %s', (_what, one) => {
    expect(new ConfirmedUnloads().take('node', [one], modules)).toEqual([]);
  });
});
