import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sha256 } from '../images.ts';
import { requireProgram } from '../programs.ts';

/** A call of modprobe on a node. */
export interface ModprobeCall {
  /** `namespace/name` of the pod. */
  readonly pod: string;
  readonly action: 'load' | 'unload';
  readonly arguments: readonly string[];
  /** The first argument that is not an option. */
  readonly name: string;
  /** What follows the name: parameters when loading, more names when unloading. */
  readonly rest: readonly string[];
  /** The kernel whose directory was searched. */
  readonly kernel: string;
  /** Nonzero if there was no such module for the kernel. */
  readonly exitCode: number;
  /** The file that would be loaded. */
  readonly module?: LoadedModule;
}

/** A file that modprobe found. */
export interface LoadedModule {
  /** Its path in the container. */
  readonly file: string;
  readonly sha256: string;
  /** As reported by modinfo; undefined if the module is not signed. */
  readonly signer: string | undefined;
}

/** Reads the calls recorded in a directory by a container's modprobe, except the first `skip`. */
export async function readModprobeCalls(
  folder: string,
  { pod, skip }: { pod: string; skip: number },
): Promise<ModprobeCall[]> {
  const names = await readdir(folder);
  const calls: ModprobeCall[] = [];
  for (let number = skip + 1; names.includes(`${number}.exit`); number += 1) {
    const path = (suffix: string): string => join(folder, `${number}.${suffix}`);
    const copy = names.find((one) => one.startsWith(`${number}.module.`));
    const [name = '', ...rest] = await readLines(path('names'));
    calls.push({
      pod,
      action: names.includes(`${number}.remove`) ? 'unload' : 'load',
      arguments: await readLines(path('arguments')),
      name,
      rest,
      kernel: (await readLines(path('kernel')))[0] ?? '',
      exitCode: Number(await readFile(path('exit'), 'utf8')),
      ...(copy === undefined
        ? {}
        : { module: await readModule((await readLines(path('file')))[0] ?? '', join(folder, copy)) }),
    });
  }
  return calls;
}

async function readModule(file: string, copy: string): Promise<LoadedModule> {
  const { stdout } = await promisify(execFile)(requireProgram('modinfo'), ['-F', 'signer', copy]);
  const signer = stdout.trim();
  return { file, sha256: sha256(await readFile(copy)), signer: signer === '' ? undefined : signer };
}

async function readLines(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8');
  return text.replace(/\n$/, '').split('\n');
}
