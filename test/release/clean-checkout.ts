import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const outputLimit = 2 ** 26;

/** What a checkout has that its commit does not. */
const untracked = new Set(['.git', 'node_modules', 'dist', 'coverage', 'olm', 'release']);
/** The time of the commit. */
const date = '2026-11-26T12:00:00Z';

/**
 * Makes a repository with the files of this checkout in one commit, whose id depends on them only, in a new folder, and
 * installs what `npm ci` would.
 */
export async function makeCleanCheckout(folder: string): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  await cp(root, folder, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !untracked.has(path.slice(root.length).replace(/^\//, '')),
  });
  const people = ['AUTHOR', 'COMMITTER'].flatMap((role) => [
    [`GIT_${role}_NAME`, 'Test'],
    [`GIT_${role}_EMAIL`, 'test@kmm-sign.example'],
    [`GIT_${role}_DATE`, date],
  ]);
  const env = { ...process.env, ...Object.fromEntries(people) };
  const git = (...args: string[]) => run('git', args, { cwd: folder, env, maxBuffer: outputLimit });
  await git('init', '--quiet', '--initial-branch=main');
  await git('add', '--all');
  await git('commit', '--quiet', '--message=Everything');
  // In place of npm ci, whose files these are.
  await run('cp', ['--archive', '--link', join(root, 'node_modules'), join(folder, 'node_modules')]);
}

/** Commits all changes in a checkout. */
export async function commitAll(checkout: string): Promise<void> {
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@kmm-sign.example'];
  await run('git', [...identity, 'commit', '--quiet', '--all', '--message=Change'], { cwd: checkout });
}

/** Names what the changelog has as unreleased: the first step of docs/releasing.md. */
export async function nameRelease(checkout: string, version: string): Promise<void> {
  const file = join(checkout, 'CHANGELOG.md');
  const text = await readFile(file, 'utf8');
  if (text.includes(`## [${version}]`)) return;
  await writeFile(file, text.replace(/^## \[Unreleased\].*$/m, `## [${version}] - ${date.slice(0, 10)}`));
  await commitAll(checkout);
}

/** Clones a clean checkout to another folder. */
export async function cloneCheckout(from: string, folder: string): Promise<void> {
  await run('git', ['clone', '--quiet', from, folder]);
  await run('cp', ['--archive', '--link', join(root, 'node_modules'), join(folder, 'node_modules')]);
}

export interface ReleaseRun {
  readonly exitCode: number;
  readonly output: string;
}

/** Runs `npm run release` in a checkout. */
export async function runRelease(
  checkout: string,
  args: readonly string[],
  through: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<ReleaseRun> {
  return runIn(checkout, [...through, 'npm', 'run', '--silent', 'release', '--', ...args], env);
}

/** Runs a program in a checkout. */
export async function runIn(
  checkout: string,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<ReleaseRun> {
  try {
    const { stdout, stderr } = await run(words[0] ?? '', words.slice(1), {
      cwd: checkout,
      env: { ...process.env, ...env },
      maxBuffer: outputLimit,
    });
    return { exitCode: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { exitCode: code, output: stdout + stderr };
  }
}

/** Asks apt for the newest packages of the images, and returns the file for `--packages`. */
export async function lockPackages(checkout: string): Promise<string> {
  const packages = `${checkout}.packages.json`;
  await run(process.execPath, [join(checkout, 'scripts/image/lock.js'), packages], {
    maxBuffer: outputLimit,
  });
  return packages;
}

/**
 * Makes a release with a dry run. Debian's archive has only the newest packages: on a machine that does not reach that of older
 * ones, those that are pinned may be gone, and it is made of the newest. @throws Error with what the script says
 */
export async function makeDryRun(
  checkout: string,
  args: readonly string[],
  through: readonly string[] = [],
): Promise<void> {
  const made = await runRelease(checkout, [...args, '--dry-run'], through);
  if (made.exitCode === 0) return;
  if (!made.output.includes('cannot be had')) throw new Error(made.output);
  const packages = await lockPackages(checkout);
  const output = args[args.indexOf('--output') + 1] ?? '';
  await rm(output, { recursive: true, force: true });
  const again = await runRelease(checkout, [...args, '--dry-run', '--packages', packages], through);
  if (again.exitCode !== 0) throw new Error(again.output);
}

/** Reads a JSON file. */
export async function readJson<T>(...path: readonly string[]): Promise<T> {
  return JSON.parse(await readFile(join(...path), 'utf8')) as T;
}
