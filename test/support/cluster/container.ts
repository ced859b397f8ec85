import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdir, open, readFile, readlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import * as z from 'zod';
import { quote } from '../../../src/controller/module/loading/loader-environment.ts';
import { requireProgram } from '../programs.ts';
import { modprobeProgram, type RunnableImage } from './images.ts';

/** A directory or file of this machine, and where it is mounted in the container. */
export interface BindMount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

/** Options of a container. */
export interface ContainerOptions {
  /** An empty directory for the container. */
  readonly folder: string;
  readonly image: RunnableImage;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly mounts: readonly BindMount[];
  readonly readOnlyRoot: boolean;
  /** The file that its output is appended to. */
  readonly log: string;
  /** The kernel of its node. */
  readonly kernel: string;
  /** The directory that stands for the node's /sys/module. @default this machine's */
  readonly sysModule?: string | undefined;
}

/** A process with its own mount and PID namespaces. */
export interface RunningContainer {
  /** Its exit code; 128 plus the signal's number if a signal ended it. */
  readonly exited: Promise<number>;
  /**
   * The directory in which its modprobe records calls; undefined without its own root, since buildah calls
   * it, too.
   */
  readonly modprobe: string | undefined;
  /** Runs another command in it. */
  exec(command: readonly string[], signal: AbortSignal): Promise<{ exitCode: number; output: string }>;
  /** Sends it a termination signal. */
  terminate(): Promise<void>;
  kill(): void;
}

/** What containers without their own root see of this machine, where it exists. */
const hostEntries = ['usr', 'bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'];
/** Where the kubelet's own programs are in a container. */
const ownDirectory = '/run/kubelet';
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const infoSchema = z.looseObject({ 'child-pid': z.number() });

/** Starts a container. */
export async function startContainer(options: ContainerOptions): Promise<RunningContainer> {
  const { folder, image, command } = options;
  const root = join(folder, 'root');
  const own = join(folder, 'kubelet');
  await makeRoot(root, image);
  await writePrograms(own, options);
  await makeMountPoints(options.mounts);
  const env = {
    ...options.env,
    PATH: `${ownDirectory}/bin:${options.env['PATH'] ?? defaultPath}`,
  };
  const args = [
    ['--die-with-parent', '--unshare-pid', '--cap-add', 'ALL', '--info-fd', '3'],
    ['--dev-bind', root, '/', ...(await hostArguments(image))],
    ['--proc', '/proc', '--dev', '/dev', '--ro-bind', '/sys', '/sys', '--dev-bind', own, ownDirectory],
    options.sysModule === undefined ? [] : ['--bind', options.sysModule, '/sys/module'],
    ...options.mounts
      .toSorted((one, other) => one.target.length - other.target.length)
      .map(({ source, target, readOnly }) => [readOnly ? '--ro-bind' : '--dev-bind', source, target]),
    // After the volumes, so that a checkout below /tmp is visible despite a volume at /tmp.
    (image.folders ?? []).flatMap((one) => ['--ro-bind', one, one]),
    options.readOnlyRoot ? ['--remount-ro', '/'] : [],
    ['--chdir', options.workingDir, '--', ...command],
  ].flat();
  const log = await open(options.log, 'a');
  const child = spawn(requireProgram('bwrap'), args, { env, stdio: ['ignore', log.fd, log.fd, 'pipe'] });
  const exited = once(child, 'exit').then(
    ([code]) => (typeof code === 'number' ? code : 137),
    () => 128,
  );
  const info = await text(child.stdio[3] as Readable);
  await log.close();
  const init = info === '' ? undefined : infoSchema.parse(JSON.parse(info))['child-pid'];
  const modprobe =
    image.root === undefined && image.loadsModules !== true ? undefined : join(own, 'modprobe');
  const running = { exited, modprobe, kill: () => void child.kill('SIGKILL') };
  if (init === undefined) {
    return { ...running, exec: failsToRun, terminate: () => Promise.resolve() };
  }
  await hasStarted(init, child);
  return {
    ...running,
    exec: (words, signal) => execute({ init, words: withModprobe(words), env, signal }),
    async terminate() {
      for (const pid of await childrenOf(init)) signalProcess(pid, 'SIGTERM');
    },
    kill: () => signalProcess(init, 'SIGKILL'),
  };
}

/** The result of a command in a container that did not start. */
function failsToRun(): Promise<{ exitCode: number; output: string }> {
  return Promise.resolve({ exitCode: 128, output: 'the container did not start' });
}

async function makeRoot(root: string, image: RunnableImage): Promise<void> {
  if (image.root !== undefined) {
    await promisify(execFile)('cp', ['-a', image.root, root]);
    return;
  }
  for (const name of ['tmp', 'var/tmp', 'var/lib', 'run', 'root', 'home', 'opt']) {
    await mkdir(join(root, name), { recursive: true });
  }
  // A copy of its own, as in an image: programs write there, such as buildah if netavark is installed.
  await promisify(execFile)('cp', ['-a', '/etc', root]);
}

/** Makes the directories for mounts within others, which may be read-only in the container. */
async function makeMountPoints(mounts: readonly BindMount[]): Promise<void> {
  for (const { target } of mounts) {
    const around = mounts.find((one) => target.startsWith(`${one.target}/`));
    if (around === undefined) continue;
    await mkdir(join(around.source, relative(around.target, target)), { recursive: true });
  }
}

async function writePrograms(own: string, { image, kernel }: ContainerOptions): Promise<void> {
  await mkdir(join(own, 'bin'), { recursive: true });
  await mkdir(join(own, 'modprobe'));
  await writeFile(join(own, 'modprobe', 'kernel'), `${kernel}\n`);
  await writeFile(join(own, 'bin', 'modprobe'), await modprobeProgram, { mode: 0o755 });
  for (const [name, words] of Object.entries(image.programs ?? {})) {
    const script = `#!/bin/sh\nexec ${words.map(quote).join(' ')} "$@"\n`;
    await writeFile(join(own, 'bin', name), script, { mode: 0o755 });
  }
}

/** Returns arguments that expose this machine's programs to a container without its own root. */
async function hostArguments({ root }: RunnableImage): Promise<string[]> {
  if (root !== undefined) return [];
  const args: string[] = [];
  for (const name of hostEntries) {
    const path = `/${name}`;
    const found = await lstat(path).catch(() => undefined);
    if (found === undefined) continue;
    args.push(
      ...(found.isSymbolicLink() ? ['--symlink', await readlink(path), path] : ['--ro-bind', path, path]),
    );
  }
  return args;
}

/**
 * Waits until a container has started: its first process sets up the file systems, then starts the second.
 */
async function hasStarted(
  init: number,
  child: { exitCode: number | null; signalCode: string | null },
): Promise<void> {
  while (child.exitCode === null && child.signalCode === null && (await childrenOf(init)).length === 0) {
    await sleep(5);
  }
}

async function childrenOf(pid: number): Promise<number[]> {
  const list = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return list.trim().split(/\s+/).filter(Boolean).map(Number);
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/**
 * Adds our modprobe to a shell script as a function: busybox's shell would use its own, regardless of PATH.
 */
function withModprobe(words: readonly string[]): readonly string[] {
  const [shell = '', option, script, ...rest] = words;
  if (option !== '-c' || script === undefined) return words;
  const modprobe = `modprobe() { ${ownDirectory}/bin/modprobe "$@"; }\n`;
  return [shell, option, `${modprobe}${script}`, ...rest];
}

async function execute({
  init,
  words,
  env,
  signal,
}: {
  init: number;
  words: readonly string[];
  env: Readonly<Record<string, string>>;
  signal: AbortSignal;
}): Promise<{ exitCode: number; output: string }> {
  const args = [`--target=${init}`, '--mount', '--pid', '--root', '--wd', '--', ...words];
  const child = spawn(requireProgram('nsenter'), args, {
    env,
    signal,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = once(child, 'exit').then(
    ([code]) => (typeof code === 'number' ? code : 137),
    () => 137,
  );
  const [output, errors, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { exitCode, output: `${output}${errors}` };
}
