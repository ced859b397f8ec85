import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { env } from 'node:process';
import { describe, test } from 'vitest';

/** Where to look for a program, and how to get it. */
interface ProgramSource {
  /** Names of the file; the first one found is used. Default: the program's own name. */
  readonly names?: readonly string[];
  /** An environment variable with its path. */
  readonly variable?: string;
  /** The only directory to look in, regardless of PATH. */
  readonly folder?: string;
  /** Directories to look in besides PATH; a `*` matches any name. */
  readonly folders?: readonly string[];
  /** It is loaded, not executed: a readable file is enough. */
  readonly library?: true;
  readonly hint: string;
}

const packagePrefix = 'Debian package ';
const debian = (packageName: string): string => `${packagePrefix}${packageName}`;
const assets = 'npm run assets';

/** The cache of `npm run assets`. */
export const cacheDirectory = join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kmm-sign');

/** Returns the directory of programs that belong together: KUBEBUILDER_ASSETS if that has all of them. */
const given = env['KUBEBUILDER_ASSETS'] ?? '';
function clusterFolder(...names: readonly string[]): string {
  const has = names.every((name) => isProgram(join(given, name)));
  return has ? given : join(cacheDirectory, 'kubebuilder', 'bin');
}
const serverFolder = clusterFolder('etcd', 'kube-apiserver');

/** The real programs that tests use. */
const sources = {
  'docker-registry': { hint: debian('docker-registry') },
  distribution: { variable: 'KMM_SIGN_TEST_DISTRIBUTION', hint: assets },
  zot: { variable: 'KMM_SIGN_TEST_ZOT', hint: assets },
  conformance: { variable: 'KMM_SIGN_TEST_CONFORMANCE', hint: assets },
  etcd: { folder: serverFolder, hint: assets },
  'kube-apiserver': { folder: serverFolder, hint: assets },
  'kube-controller-manager': { folder: clusterFolder('kube-controller-manager'), hint: assets },
  'kube-scheduler': { folder: clusterFolder('kube-scheduler'), hint: assets },
  kubelet: { folder: clusterFolder('kubelet'), hint: assets },
  kubectl: { folder: clusterFolder('kubectl'), hint: assets },
  kaniko: { variable: 'KMM_SIGN_TEST_KANIKO', hint: assets },
  helm: { variable: 'KMM_SIGN_TEST_HELM', hint: assets },
  'ocm-work': { hint: assets },
  'tekton-validate': { hint: assets },
  actionlint: { hint: assets },
  cosign: { hint: `${assets} cosign` },
  verdaccio: {
    folder: join(cacheDirectory, 'verdaccio/node_modules/verdaccio/bin'),
    hint: `${assets} verdaccio`,
  },
  'node-modules-watch': { hint: assets },
  'operator-verify': { hint: assets },
  'catalog-validate': { hint: assets },
  'nfd-master': { hint: assets },
  'nfd-worker': { hint: assets },
  'nfd-gc': { hint: assets },
  'containerd-2': { hint: assets },
  'containerd-2-shim': { hint: assets },
  'dra-plugin': { hint: assets },
  containerd: { hint: debian('containerd') },
  ctr: { hint: debian('containerd') },
  runc: { hint: debian('runc') },
  bridge: { folder: '/usr/lib/cni', hint: debian('containernetworking-plugins') },
  debootstrap: { hint: debian('debootstrap') },
  'mkfs.ext4': { hint: debian('e2fsprogs') },
  ip: { hint: debian('iproute2') },
  faketime: { hint: debian('faketime') },
  skopeo: { hint: debian('skopeo') },
  umoci: { hint: debian('umoci') },
  ostree: { hint: debian('ostree') },
  shellcheck: { hint: debian('shellcheck') },
  squid: { folders: ['/usr/sbin'], hint: debian('squid') },
  buildah: { hint: debian('buildah') },
  podman: { hint: debian('podman') },
  'ignition-validate': { hint: debian('ignition') },
  'systemd-analyze': { hint: debian('systemd') },
  'sign-file': {
    variable: 'KMM_SIGN_TEST_SIGN_FILE',
    folders: [
      '/usr/lib/linux-kbuild-*/scripts',
      '/usr/src/linux-headers-*/scripts',
      '/usr/src/kernels/*/scripts',
    ],
    hint: debian('linux-kbuild-6.1'),
  },
  'softhsm2-util': { hint: debian('softhsm2') },
  'libsofthsm2.so': { library: true, folders: ['/usr/lib/softhsm'], hint: debian('softhsm2') },
  'pkcs11-provider': {
    library: true,
    names: ['pkcs11.so'],
    folders: ['/usr/lib/*/ossl-modules'],
    hint: `${debian('pkcs11-provider')}, for Debian 12 from bookworm-backports`,
  },
  modinfo: { hint: debian('kmod') },
  modprobe: { hint: debian('kmod') },
  depmod: { hint: debian('kmod') },
  openssl: { hint: debian('openssl') },
  go: { folders: ['/usr/local/go/bin'], hint: 'Go 1.26 from go.dev' },
  python3: { hint: debian('python3') },
  gcc: { hint: debian('gcc') },
  make: { hint: debian('make') },
  tar: { hint: debian('tar') },
  gzip: { hint: debian('gzip') },
  xz: { hint: debian('xz-utils') },
  bzip2: { hint: debian('bzip2') },
  zstd: { hint: debian('zstd') },
  cpio: { hint: debian('cpio') },
  bash: { hint: debian('bash') },
  strace: { hint: debian('strace') },
  unshare: { hint: debian('util-linux') },
  mount: { hint: debian('mount') },
  umount: { hint: debian('mount') },
  nsenter: { hint: debian('util-linux') },
  setpriv: { hint: debian('util-linux') },
  bwrap: { hint: debian('bubblewrap') },
  busybox: { hint: debian('busybox-static') },
  zsh: { hint: debian('zsh') },
  fish: { hint: debian('fish') },
  'dpkg-deb': { hint: debian('dpkg') },
  'apt-cache': { hint: debian('apt') },
  'apt-get': { hint: debian('apt') },
  'qemu-system-x86_64': { hint: debian('qemu-system-x86') },
  'virt-fw-vars': { hint: debian('python3-virt-firmware') },
  sbsign: { hint: debian('sbsigntool') },
  mkfs: { names: ['mkfs.vfat'], hint: debian('dosfstools') },
  mcopy: { hint: debian('mtools') },
} satisfies Record<string, ProgramSource>;

export type ProgramName = keyof typeof sources;

/** Paths of the programs found. */
export type ProgramPaths<Name extends ProgramName = ProgramName> = Readonly<Record<Name, string>>;

/** Whether missing programs are failures rather than skips: in CI, or with KMM_SIGN_TEST_REQUIRE_ALL=1. */
export const requireAll = isSet(env['CI']) || isSet(env['KMM_SIGN_TEST_REQUIRE_ALL']);

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== '0' && value !== 'false';
}

function isProgram(path: string, access: number = constants.X_OK): boolean {
  try {
    accessSync(path, access);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Expands one `*` in a directory's path, newest name first. */
function expand(folder: string): string[] {
  const parts = folder.split('/');
  const star = parts.findIndex((part) => part.includes('*'));
  const pattern = parts[star];
  if (pattern === undefined) return [folder];
  const parent = parts.slice(0, star).join('/');
  const [prefix = '', suffix = ''] = pattern.split('*');
  try {
    return readdirSync(parent)
      .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
      .toSorted()
      .toReversed()
      .map((name) => [parent, name, ...parts.slice(star + 1)].join('/'));
  } catch {
    return [];
  }
}

const found = new Map<ProgramName, string>();

/** Returns the path of a program, or undefined. */
export function findProgram(name: ProgramName): string | undefined {
  const path = found.get(name) ?? search(name);
  if (path !== undefined) found.set(name, path);
  return path;
}

function search(name: ProgramName): string | undefined {
  const source: ProgramSource = sources[name];
  const fromVariable = source.variable === undefined ? undefined : env[source.variable];
  if (fromVariable !== undefined && fromVariable !== '')
    return isProgram(fromVariable) ? fromVariable : undefined;
  if (source.folder !== undefined) {
    const path = join(source.folder, name);
    return isProgram(path) ? path : undefined;
  }
  const folders = [
    join(cacheDirectory, 'bin'),
    ...(env['PATH'] ?? '').split(delimiter).filter((folder) => folder.startsWith('/')),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
    ...(source.folders ?? []).flatMap(expand),
  ];
  return (source.names ?? [name])
    .flatMap((file) => folders.map((folder) => join(folder, file)))
    .find((path) => isProgram(path, source.library === true ? constants.R_OK : constants.X_OK));
}

/** Returns the path of a program. @throws Error that says where to get it */
export function requireProgram(name: ProgramName): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`${name} is missing (${sources[name].hint})`);
  return path;
}

/** Describes how to get missing programs, one line for each. */
export function missingPrograms(names: readonly ProgramName[]): string[] {
  return names
    .filter((name) => findProgram(name) === undefined)
    .map((name) => `${name} is missing: ${sources[name].hint}`);
}

/** Missing programs, by their source. */
export interface MissingPrograms {
  /** Debian packages to install. */
  readonly packages: readonly string[];
  /** Programs that `npm run assets NAME...` gets. */
  readonly assets: readonly ProgramName[];
  /** A line for each of the other programs. */
  readonly others: readonly string[];
}

/** Groups missing programs by their source. */
export function sortMissingPrograms(names: readonly ProgramName[]): MissingPrograms {
  const missing = [...new Set(names)].filter((name) => findProgram(name) === undefined);
  const isPackaged = (name: ProgramName): boolean => sources[name].hint.startsWith(packagePrefix);
  const isAsset = (name: ProgramName): boolean => sources[name].hint === assets;
  return {
    packages: [
      ...new Set(missing.filter(isPackaged).map((name) => sources[name].hint.slice(packagePrefix.length))),
    ],
    assets: missing.filter(isAsset),
    others: missingPrograms(missing.filter((name) => !isPackaged(name) && !isAsset(name))),
  };
}

function findAll<Name extends ProgramName>(
  names: readonly Name[],
): { paths: ProgramPaths<Name>; missing: string | undefined } {
  const missing = missingPrograms(names);
  // A skipped suite is still collected: its functions get names in place of paths, and do not run.
  const paths = Object.fromEntries(
    names.map((name) => [name, findProgram(name) ?? name]),
  ) as ProgramPaths<Name>;
  return {
    paths,
    missing: missing.length === 0 ? undefined : missing.join('; '),
  };
}

/**
 * Defines a suite that needs real programs. `define` gets their paths. If one is missing, the suite is
 * skipped with the reason in its title, or fails if everything is required.
 */
export function describeWith<Name extends ProgramName>(
  names: readonly Name[],
  title: string,
  define: (paths: ProgramPaths<Name>) => void,
): void {
  const { paths, missing } = findAll(names);
  if (missing === undefined) {
    describe(title, () => define(paths));
  } else if (requireAll) {
    describe(title, () => failFor(missing));
  } else {
    describe.skip(`${title} [${missing}]`, () => define(paths));
  }
}

function failFor(missing: string): void {
  test('has the parts that it needs', () => {
    throw new Error(missing);
  });
}
