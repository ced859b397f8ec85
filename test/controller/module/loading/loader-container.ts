import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { release, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { loaderProgram } from '../../../../src/controller/module/loading/loader-program.ts';
import { requireProgram, type ProgramName } from '../../../support/programs.ts';
import { waitFor } from '../../../support/wait-for.ts';

/** The real programs that a node of this kind takes. */
export const loaderPrograms: readonly ProgramName[] = ['depmod', 'modinfo', 'unshare'];

/** Programs that replace a file by a compressed one. */
const compressors = { xz: ['xz', '--check=crc32'], zst: ['zstd', '-q', '--rm'] } as const;

/** The variables of a loader. */
export type LoaderEnvironment = Readonly<Record<string, string>>;

/** A directory tree: content by path. */
export type Files = Readonly<Record<string, string | Buffer>>;

/** A node of which a loader sees what its pod mounts; its kernel is a directory. */
export class LoaderNode implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'kmm-sign-test-'));

  constructor() {
    for (const name of ['image', 'modules', 'firmware', 'sys-module', 'state', 'order', 'mount']) {
      mkdirSync(join(this.#directory, name));
    }
    writeFileSync(this.path('log'), '');
  }

  path(...names: string[]): string {
    return join(this.#directory, ...names);
  }

  /** Adds files of the module's image, of the node's modules or of another directory of the node. */
  add(directory: 'image' | 'modules' | 'firmware' | 'sys-module' | 'order', files: Files): void {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(this.path(directory, path)), { recursive: true });
      writeFileSync(this.path(directory, path), content);
    }
  }

  /** Adds modules to the image, with indexes for the kernel of this machine. */
  addModules(modules: Files, base = 'opt'): void {
    const kernel = `${base}/lib/modules/${release()}`;
    const files = Object.entries(modules).map(([name, content]) => [`${kernel}/${name}.ko`, content]);
    const empty = ['modules.order', 'modules.builtin', 'modules.builtin.modinfo'];
    this.add(
      'image',
      Object.fromEntries([...files, ...empty.map((name) => [`${kernel}/${name}`, ''])]) as Files,
    );
    execFileSync(requireProgram('depmod'), ['-b', this.path('image', base), release()]);
  }

  /** Compresses the image's modules, and indexes them so. */
  compressModules(suffix: 'gz' | 'xz' | 'zst'): void {
    const directory = this.path('image/opt/lib/modules', release());
    const modules = readdirSync(directory).filter((file) => file.endsWith('.ko'));
    // The depmod of Debian 12 knows no gzip, others do: it indexes names as long, which are then replaced.
    const [program = '', ...options] = compressors[suffix === 'gz' ? 'xz' : suffix];
    for (const file of modules) execFileSync(program, [...options, join(directory, file)]);
    execFileSync(requireProgram('depmod'), ['-b', this.path('image/opt'), release()]);
    if (suffix !== 'gz') return;
    for (const file of modules) {
      execFileSync('xz', ['-d', join(directory, `${file}.xz`)]);
      execFileSync('gzip', [join(directory, file)]);
    }
    for (const name of ['modules.dep', 'modules.dep.bin']) {
      const index = readFileSync(join(directory, name), 'latin1').replaceAll('.ko.xz', '.ko.gz');
      writeFileSync(join(directory, name), index, 'latin1');
    }
  }

  /** Removes the indexes of the image's modules that match. */
  removeIndexes(pattern: RegExp): void {
    const directory = this.path('image/opt/lib/modules', release());
    for (const name of readdirSync(directory).filter((file) => pattern.test(file))) {
      rmSync(join(directory, name));
    }
  }

  /** Puts a module into the kernel that was not loaded by a loader. */
  addLoaded(name: string, files: Files = {}): void {
    this.add('sys-module', { [`${name}/initstate`]: 'live\n', [`${name}/refcnt`]: '0\n' });
    for (const [file, content] of Object.entries(files))
      this.add('sys-module', { [`${name}/${file}`]: content });
  }

  get termination(): string {
    return readFileSync(this.path('log'), 'utf8');
  }

  isLoaded(name: string): boolean {
    return existsSync(this.path('sys-module', name));
  }

  isReady(): boolean {
    try {
      return readlinkSync(this.path('state', 'ready')) !== '';
    } catch {
      return false;
    }
  }

  /** What modprobe was called with to load and unload, in order; a line each. */
  calls(): string[] {
    return existsSync(this.path('state', 'calls'))
      ? readFileSync(this.path('state', 'calls'), 'utf8').trimEnd().split('\n')
      : [];
  }

  /** The names of files that went into the kernel, and their options, in order. */
  inserted(): string[] {
    const lines = this.calls().filter((line) => line.startsWith('insmod'));
    return lines.map((line) => line.replace(/^.*\//, '').trim());
  }

  /** Starts a loader in a container of its own. */
  start(environment: LoaderEnvironment, mode: 'load' | 'unload' = 'load'): LoaderRun {
    writeFileSync(this.path('script'), loaderProgram);
    cpSync(new URL('modprobe.sh', import.meta.url), this.path('modprobe'));
    const args = ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', setUp, 'set-up', this.path()];
    const child = spawn(requireProgram('unshare'), args, {
      env: { ...process.env, ...environment, KMM_LOADER_MODE: mode },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    const exited = once(child, 'close').then(([code]) => Number(code));
    return {
      exited,
      output: () => output,
      processes: () => {
        const first = childrenOf(child.pid);
        return [...first, ...first.flatMap(childrenOf)];
      },
      ready: () =>
        waitFor(
          () => {
            if (!this.isReady()) throw new Error(`the loader is not ready: ${output} ${this.termination}`);
          },
          { timeout: 15_000, interval: 20 },
        ),
      async terminate() {
        process.kill(childrenOf(child.pid)[0] ?? 0, 'SIGTERM');
        return exited;
      },
      kill: () => void child.kill('SIGKILL'),
    };
  }

  /** Starts a loader and waits until it is ready. */
  async load(environment: LoaderEnvironment): Promise<LoaderRun> {
    const run = this.start(environment);
    await run.ready();
    return run;
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** A loader that was started. */
export interface LoaderRun {
  readonly exited: Promise<number>;
  output(): string;
  /** The IDs of its processes. */
  processes(): number[];
  ready(): Promise<void>;
  /** Sends the signal with which the kubelet ends pods, and gives the exit code. */
  terminate(): Promise<number>;
  kill(): void;
}

function childrenOf(pid: number | undefined): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return list.split(' ').filter(Boolean).map(Number);
}

/** Lays out the container: the programs of this machine with a writable layer, and the pod's mounts. */
const setUp = `set -e
cd "$1"
mount -t tmpfs none mount
mkdir mount/upper mount/work mount/root
mount -t overlay none -o lowerdir=/,upperdir=mount/upper,workdir=mount/work mount/root
root=mount/root
rm -rf $root/etc/modprobe.d $root/opt
mkdir $root/opt
mkdir -p $root/module-image $root/host/lib/modules $root/host/firmware $root/host/sys-module $root/sys/module \\
  $root/run/kmm-loader $root/modules-order
cp modprobe $root/usr/local/sbin/modprobe
chmod 755 $root/usr/local/sbin/modprobe
mount -o bind,ro image $root/module-image
mount -o bind,ro modules $root/host/lib/modules
mount -o bind,ro order $root/modules-order
mount --bind firmware $root/host/firmware
mount --bind sys-module $root/sys/module
mount --bind sys-module $root/host/sys-module
mount --bind state $root/run/kmm-loader
mount -t tmpfs none $root/dev
mknod -m 666 $root/dev/null c 1 3
: >log
: >$root/dev/termination-log
mount --bind log $root/dev/termination-log
mount -t proc none $root/proc
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin exec chroot $root /bin/sh -c "$(cat script)" module-loader`;
