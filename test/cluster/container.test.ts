import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';
import { startContainer, type ContainerOptions } from '../support/cluster/container.ts';
import { describeWith } from '../support/programs.ts';

describeWith(['bwrap', 'nsenter'], 'a container with the programs of this machine', () => {
  let directory: TemporaryDirectory;
  let count = 0;

  beforeAll(async () => {
    directory = await createTemporaryDirectory();
  });
  afterAll(() => directory?.[Symbol.asyncDispose]());

  /** Runs a script to its end. */
  async function run(
    script: string,
    options: Partial<ContainerOptions> = {},
  ): Promise<{ exitCode: number; output: string }> {
    count += 1;
    const folder = join(directory.path, `${count}`);
    await mkdir(folder);
    const log = join(folder, 'log');
    const container = await startContainer({
      folder,
      image: {},
      command: ['/bin/sh', '-c', script],
      env: {},
      workingDir: '/',
      mounts: [],
      readOnlyRoot: false,
      log,
      kernel: '6.1.0',
      ...options,
    });
    return { exitCode: await container.exited, output: await readFile(log, 'utf8') };
  }

  it('has an /etc of its own, which its programs may write to', async () => {
    const name = `/etc/kmm-sign-test-${process.pid}/networks`;
    const script = `mkdir -p ${name} && echo it > ${name}/one && cat ${name}/one && grep -c ^root: /etc/passwd`;
    expect(await run(script)).toEqual({ exitCode: 0, output: 'it\n1\n' });
    expect(existsSync(name)).toBe(false);
  });

  it('may not change the programs', async () => {
    expect(await run('touch /usr/bin/new')).toMatchObject({ exitCode: 1 });
    expect(existsSync('/usr/bin/new')).toBe(false);
  });

  it('writes nothing at all when its root is read-only', async () => {
    expect(await run('touch /etc/new', { readOnlyRoot: true })).toMatchObject({ exitCode: 1 });
  });
});
