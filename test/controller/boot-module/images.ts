import { execFile } from 'node:child_process';
import { mkdir, readFile, readdir, realpath, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { makeTar, withParents, type TestEntry, type TestLayer } from '../../support/images.ts';
import { requireProgram } from '../../support/programs.ts';

const run = promisify(execFile);

/** A layer with a shell, kmod, and what else the script in a worker's container calls: this machine's own. */
export async function workerLayer(): Promise<TestLayer> {
  const programs = ['sh', 'tr', 'cp', 'mkdir', 'rmmod', 'modprobe'];
  const files = new Map<string, string>();
  for (const name of programs) {
    const { stdout: path } = await run('sh', ['-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${name}`]);
    const file = await realpath(path.trim());
    files.set(`bin/${name}`, file);
    const { stdout } = await run('ldd', [file]);
    for (const [, library = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) files.set(library.slice(1), library);
  }
  const entries = await Promise.all(
    [...files].map(async ([name, file]) => withParents(name, await readFile(file), { mode: 0o755 })),
  );
  return { tar: await makeTar(distinct(entries.flat())) };
}

/** The files of a module's image for this machine's kernel: it has neither a shell nor cp. */
export async function driverFiles(): Promise<TestEntry[]> {
  await using work = await createTemporaryDirectory();
  const directory = join(work.path, 'lib/modules', release());
  await mkdir(directory, { recursive: true });
  const fixture = new URL('../../../fixtures/hello/hello.ko', import.meta.url);
  await writeFile(join(directory, 'hello.ko'), await readFile(fixture));
  await run(requireProgram('depmod'), ['--basedir', work.path, release()]);
  const files = await Promise.all(
    (await readdir(directory)).map(async (file) =>
      withParents(`opt/lib/modules/${release()}/${file}`, await readFile(join(directory, file))),
    ),
  );
  const more = [
    ...withParents('firmware/vendor/hello.bin', 'firmware'),
    ...withParents('etc/modprobe.d/hello.conf', 'options hello greeting=moin\n'),
  ];
  return distinct([...files.flat(), ...more]);
}

/** Directories are named by each file in them. */
function distinct(entries: readonly TestEntry[]): TestEntry[] {
  return [...new Map(entries.map((entry) => [entry.name, entry])).values()];
}
