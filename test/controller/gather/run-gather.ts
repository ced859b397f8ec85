import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { finished } from '../../cli/run-program.ts';
import { operatorProgram } from '../operator/start-operator.ts';

/** A gathering that the built program has written. */
export interface Gathering {
  readonly exitCode: number | null;
  readonly stderr: string;
  /** Texts of the files, by their path. */
  readonly files: ReadonlyMap<string, string>;
  readonly summary: string;
}

/** Runs `kmm-operator gather` to its end, and reads what it has written. */
export async function runGather(
  kubeconfig: string,
  directory: string,
  ...flags: readonly string[]
): Promise<Gathering> {
  const args = ['gather', '--kubeconfig', kubeconfig, '-o', directory, ...flags];
  const child = spawn(process.execPath, [operatorProgram, ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent' },
  });
  const { exitCode, stderr } = await finished(child);
  const files = await readFiles(directory);
  return { exitCode, stderr, files, summary: files.get('summary.md') ?? '' };
}

/** Reads all files of a directory, by their path. */
export async function readFiles(directory: string): Promise<Map<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const texts = paths
    .toSorted()
    .map(async (path) => [relative(directory, path), await readFile(path, 'utf8')] as const);
  return new Map(await Promise.all(texts));
}
