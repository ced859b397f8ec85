import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, copyFile, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory, requireProgram } from '../programs.ts';

/** The real programs that images are made with, besides npm. */
export const imagePrograms = ['apt-get', 'buildah', 'debootstrap', 'tar'] as const;

const run = promisify(execFile);
const checkout = fileURLToPath(new URL('../../..', import.meta.url));
/** The cache of images is that of all checkouts on this machine, whose tests may run at once. */
const checkoutTag = `checkout-${createHash('sha256').update(checkout).digest('hex').slice(0, 8)}`;
const base = 'localhost/debian:bookworm-slim';
const certificates = '/etc/ssl/certs/ca-certificates.crt';
const maxOutput = 2 ** 26;

/** Images of Debian's packages in a storage of their own in the cache, so that each is made once. */
export async function buildah(...args: readonly string[]): Promise<string> {
  const storage = join(cacheDirectory, 'images');
  await mkdir(storage, { recursive: true });
  const common = ['--root', join(storage, 'root'), '--runroot', join(storage, 'run')];
  const all = ['--storage-driver=overlay', ...common, ...args];
  return (await run(requireProgram('buildah'), all, { maxBuffer: maxOutput })).stdout.trim();
}

/** Builds an image from a Dockerfile and the files of a directory. Steps that were made before are not repeated. */
async function build(name: string, dockerfile: string, context: string, ...more: string[]): Promise<void> {
  const common = ['--isolation=chroot', '--layers', '--pull=never', '--quiet', ...more];
  await buildah('build', ...common, `--tag=${name}`, `--file=${dockerfile}`, context);
}

/** Builds an image of a Dockerfile's text and a directory that `prepare` fills. */
async function buildText(
  name: string,
  dockerfile: readonly string[],
  prepare: (context: string) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const context = await mkdtemp(join(tmpdir(), 'kmm-sign-image-'));
  try {
    const file = join(context, 'Dockerfile');
    await writeFile(file, `${dockerfile.join('\n')}\n`);
    await prepare(context);
    await build(name, file, context);
  } finally {
    await rm(context, { recursive: true, force: true });
  }
}

/** Makes Debian 12's smallest image, once. */
async function makeBase(): Promise<void> {
  if ((await buildah('images', '--quiet', '--filter', `reference=${base}`)) !== '') return;
  const work = await mkdtemp(join(tmpdir(), 'kmm-sign-debian-'));
  try {
    const root = join(work, 'root');
    const options = ['--variant=minbase', '--include=ca-certificates', 'bookworm', root, await archive()];
    await run(requireProgram('debootstrap'), options, { maxBuffer: maxOutput });
    const packed = ['--exclude=./var/cache/apt/archives/*', '--exclude=./dev/*', '--create'];
    await run(requireProgram('tar'), [`--directory=${root}`, ...packed, `--file=${work}/root.tar`, '.']);
    await writeFile(join(work, 'Dockerfile'), 'FROM scratch\nADD root.tar /\nCMD ["bash"]\n');
    await rm(root, { recursive: true });
    await build(base, join(work, 'Dockerfile'), work);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The archive that this machine has its packages from. */
async function archive(): Promise<string> {
  const format = '$(SITE) $(RELEASE)';
  const { stdout } = await run(requireProgram('apt-get'), ['indextargets', '--format', format]);
  const line = stdout.split('\n').find((one) => one.endsWith(' bookworm'));
  if (line === undefined) throw new Error('apt knows no archive of Debian 12');
  return line.split(' ')[0] ?? '';
}

function install(...packages: readonly string[]): string {
  return `RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends ${packages.join(' ')} >/dev/null`;
}

/** What Docker Hub has as the image of Node. */
const nodeImage = 'localhost/node:bookworm-slim';
/** Debian's archive may have newer packages than those that are pinned. */
const settings = [`--build-arg=NODE_IMAGE=${nodeImage}`, '--build-arg=PACKAGES=latest'];

/** Makes an image with Node and npm. */
async function makeNodeImage(): Promise<void> {
  await makeBase();
  const { stdout } = await run('npm', ['root', '--global']);
  const npm = await realpath(join(stdout.trim(), 'npm'));
  await buildText(
    nodeImage,
    [
      `FROM ${base}`,
      install('libatomic1', 'libstdc++6'),
      'COPY node /usr/local/bin/node',
      'COPY npm /usr/local/lib/node_modules/npm',
      // What this machine trusts: packages may come by way of a proxy.
      'COPY ca-certificates.crt /etc/ssl/certs/',
      'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm',
      `ENV NODE_EXTRA_CA_CERTS=${certificates}`,
    ],
    async (context) => {
      await copyFile(join(checkout, 'node_modules/node/bin/node'), join(context, 'node'));
      await cp(npm, join(context, 'npm'), { recursive: true });
      await copyFile(certificates, join(context, 'ca-certificates.crt'));
    },
  );
}

/** Builds the operator's image from the Dockerfile of this checkout, and returns its name. */
export async function makeOperatorImage(): Promise<string> {
  await makeNodeImage();
  const name = `localhost/kmm-sign:${checkoutTag}`;
  await build(name, join(checkout, 'Dockerfile'), checkout, ...settings, ...(await npmCache()));
  return name;
}

/** Builds the image of module loaders from the Dockerfile of this checkout, and returns its name. */
export async function makeLoaderImage(): Promise<string> {
  await makeNodeImage();
  const name = `localhost/kmm-sign-loader:${checkoutTag}`;
  const more = ['--target=loader', ...settings, ...(await npmCache())];
  await build(name, join(checkout, 'Dockerfile'), checkout, ...more);
  return name;
}

/** Shares npm's cache with the build. */
async function npmCache(): Promise<string[]> {
  const { stdout } = await run('npm', ['config', 'get', 'cache']);
  await mkdir(stdout.trim(), { recursive: true });
  return [`--volume=${stdout.trim()}:/root/.npm`];
}

/** Makes an image with Debian's Buildah and a user who may run it, as the real one has. */
export async function makeBuildahImage(): Promise<string> {
  await makeBase();
  const name = 'localhost/buildah:bookworm';
  await buildText(name, [
    `FROM ${base}`,
    install('buildah', 'libcap2-bin', 'netavark', 'uidmap'),
    // Root of a container may not write other users' files, so capabilities take the place of setuid.
    'RUN for id in u g; do chmod u-s /usr/bin/new${id}idmap && setcap cap_set${id}id+ep /usr/bin/new${id}idmap; done',
    'RUN useradd --create-home --uid 1000 build && mkdir -p /home/build/.local/share/containers && chown -R build: /home/build',
    'RUN printf "build:1:999\\nbuild:1001:64535\\n" | tee /etc/subuid >/etc/subgid',
    'USER build',
    'WORKDIR /home/build',
  ]);
  return name;
}

/** Makes an image with Kaniko's executor, laid out as the real one. */
export async function makeKanikoImage(): Promise<string> {
  const name = 'localhost/kaniko:checkout';
  await buildText(
    name,
    [
      'FROM scratch',
      'COPY executor /kaniko/executor',
      'COPY ca-certificates.crt /kaniko/ssl/certs/ca-certificates.crt',
      'COPY nsswitch.conf /etc/nsswitch.conf',
      'COPY config.json /kaniko/.docker/config.json',
      'ENV HOME=/root USER=root PATH=/usr/local/bin:/kaniko SSL_CERT_DIR=/kaniko/ssl/certs DOCKER_CONFIG=/kaniko/.docker/',
      'WORKDIR /workspace',
      'ENTRYPOINT ["/kaniko/executor"]',
    ],
    async (context) => {
      await copyFile(requireProgram('kaniko'), join(context, 'executor'));
      await copyFile(certificates, join(context, 'ca-certificates.crt'));
      await writeFile(join(context, 'nsswitch.conf'), 'hosts: files dns\n');
      await writeFile(join(context, 'config.json'), '{}');
    },
  );
  return name;
}

/** Pushes an image to a registry without TLS. */
export async function pushImage(
  name: string,
  to: { readonly reference: string; readonly username: string; readonly password: string },
): Promise<void> {
  const options = ['--tls-verify=false', '--disable-compression', `--creds=${to.username}:${to.password}`];
  await buildah('push', '--quiet', ...options, name, `docker://${to.reference}`);
}

/** Makes the root of a machine that has Node and npm, of Debian's smallest system and nothing else of ours, in a new directory. */
export async function makeStrangerRoot(directory: string): Promise<void> {
  await makeNodeImage();
  await copyRoot(nodeImage, directory);
}

/** Makes the root of a machine that runs containers, with programs of this machine, in a new directory. */
export async function makeNodeRoot(directory: string): Promise<void> {
  await makeBase();
  const name = 'localhost/node-root:bookworm';
  const packages = [
    'containerd',
    'runc',
    'containernetworking-plugins',
    'iptables',
    'kmod',
    'busybox-static',
  ];
  await buildText(name, [`FROM ${base}`, install(...packages)]);
  await copyRoot(name, directory);
}

/** Copies the root of an image into a new directory. */
async function copyRoot(name: string, directory: string): Promise<void> {
  const container = await buildah('from', '--pull=never', name);
  try {
    await cp(await buildah('mount', container), directory, { recursive: true, verbatimSymlinks: true });
  } finally {
    await buildah('rm', container);
  }
}
