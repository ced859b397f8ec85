/** One run of a program: what it took, and what it left behind. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Seconds and bytes of one run. */
export interface Cost {
  readonly wall: number;
  /** User and system time, children included. */
  readonly cpu: number;
  /** Largest resident set of the process and its children. */
  readonly peak: number;
  /** Bytes left in the temporary directory. */
  readonly left: number;
}

const helper = fileURLToPath(new URL('measure.py', import.meta.url));

/** Runs a command to its end. Throws with its stderr when it fails. */
export async function measure(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Cost> {
  const scratch = await mkdtemp(join(tmpdir(), 'kmm-sign-bench-'));
  const temporary = await mkdtemp(join(scratch, 'tmp-'));
  const result = join(scratch, 'result.json');
  try {
    const child = spawn('python3', [helper, result, ...command], {
      env: { ...process.env, ...env, TMPDIR: temporary },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const errors: Buffer[] = [];
    child.stderr.on('data', (piece: Buffer) => errors.push(piece));
    await new Promise((resolve, reject) => void child.once('close', resolve).once('error', reject));
    const { exitCode, ...cost } = JSON.parse(await readFile(result, 'utf8')) as Omit<Cost, 'left'> & {
      exitCode: number;
    };
    if (exitCode !== 0) {
      throw new Error(
        `${command.slice(0, 4).join(' ')} … ended with ${exitCode}: ${Buffer.concat(errors).toString().slice(-2000)}`,
      );
    }
    return { ...cost, left: await bytesBelow(temporary) };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function bytesBelow(directory: string): Promise<number> {
  let total = 0;
  for (const path of await readdir(directory, { recursive: true })) {
    const found = await stat(join(directory, path));
    if (found.isFile()) total += found.size;
  }
  return total;
}

/** The middle one of some numbers. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
