import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { expect, it, vi } from 'vitest';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { describeWith } from './programs.ts';

const waiting = { timeout: 20_000, interval: 20 };

function runs(pid: number): boolean {
  // One that has ended may wait for a parent to ask.
  return existsSync(`/proc/${pid}/stat`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
}

describeWith(['setpriv'], 'a program that a test starts', () => {
  it('ends with the test’s process, even if that is killed', async () => {
    await using directory = await createTemporaryDirectory();
    const file = join(directory.path, 'pid');
    const source = `
      const { startProcess } = await import(${JSON.stringify(new URL('processes.ts', import.meta.url).href)});
      const { writeFileSync } = await import('node:fs');
      const { pid } = startProcess('/bin/sleep', ['60'], { log: ${JSON.stringify(join(directory.path, 'log'))} });
      writeFileSync(${JSON.stringify(file)}, String(pid));
      setInterval(() => {}, 1000);
    `;
    const parent = spawn(execPath, ['--input-type=module', '--eval', source], { stdio: 'ignore' });
    const pid = await vi.waitFor(() => {
      const found = Number(readFileSync(file, 'utf8'));
      expect(readFileSync(`/proc/${found}/comm`, 'utf8')).toBe('sleep\n');
      return found;
    }, waiting);
    parent.kill('SIGKILL');
    await vi.waitFor(() => expect(runs(pid)).toBe(false), waiting);
  });
});
