import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as z from 'zod';
import { requireProgram } from '../programs.ts';

const run = promisify(execFile);
const repository = fileURLToPath(new URL('../../..', import.meta.url));

/** An image as the kubelet runs it. */
export interface RunnableImage {
  /**
   * Directory of the container's root, which is copied; by default, the container uses this machine's
   * programs.
   */
  readonly root?: string | undefined;
  /** Directories of this machine that the container sees, read-only, at the same paths. */
  readonly folders?: readonly string[] | undefined;
  /** Commands of the container, and what they run. */
  readonly programs?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Whether its modprobe is ours, too, though it uses this machine's programs. */
  readonly loadsModules?: boolean | undefined;
  readonly entrypoint?: readonly string[] | undefined;
  readonly arguments?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly workingDir?: string | undefined;
}

/** Prepares an image that is in no registry, in an empty directory. Called once per kubelet. */
export type LocalImage = (folder: string) => Promise<RunnableImage>;

/** An image with the programs of this machine, and others: the command and what it runs. */
export function hostImage(programs: Readonly<Record<string, readonly string[]>> = {}): LocalImage {
  return () => Promise.resolve({ programs });
}

/** An image of kmm-sign as built from this checkout. */
export function kmmSignImage(): LocalImage {
  const program = join(repository, 'bin', 'kmm-sign.js');
  return () =>
    Promise.resolve({
      folders: [repository, dirname(process.execPath)],
      programs: { 'kmm-sign': [process.execPath, program] },
      loadsModules: true,
      entrypoint: ['kmm-sign'],
    });
}

/** An image of Debian's buildah. */
export function buildahImage(): LocalImage {
  return () => Promise.resolve({ env: { HOME: '/root', STORAGE_DRIVER: 'vfs' } });
}

/** An image of Kaniko's executor with its own root, laid out like its real image. */
export function kanikoImage(): LocalImage {
  return async (folder) => {
    const kaniko = join(folder, 'kaniko');
    const certificates = join(kaniko, 'ssl', 'certs');
    for (const one of [
      certificates,
      join(kaniko, '.docker'),
      join(folder, 'etc'),
      join(folder, 'workspace'),
    ]) {
      await mkdir(one, { recursive: true });
    }
    await copyFile(requireProgram('kaniko'), join(kaniko, 'executor'));
    await copyFile('/etc/ssl/certs/ca-certificates.crt', join(certificates, 'ca-certificates.crt'));
    await writeFile(join(folder, 'etc', 'nsswitch.conf'), 'hosts: files dns\n');
    return {
      root: folder,
      entrypoint: ['/kaniko/executor'],
      env: {
        HOME: '/root',
        USER: 'root',
        PATH: '/usr/local/bin:/kaniko',
        SSL_CERT_DIR: '/kaniko/ssl/certs',
        DOCKER_CONFIG: '/kaniko/.docker/',
        // It checks for signs that it runs in a container, and refuses to work elsewhere.
        container: 'kube',
      },
      workingDir: '/workspace',
    };
  };
}

const configSchema = z.looseObject({
  config: z
    .looseObject({
      Entrypoint: z.array(z.string()).nullish(),
      Cmd: z.array(z.string()).nullish(),
      Env: z.array(z.string()).nullish(),
      WorkingDir: z.string().optional(),
    })
    .optional(),
});

/** Tells whether an image is in a registry on this machine; the kubelet pulls from no other. */
export function isPullable(image: string): boolean {
  return /^(?:127\.0\.0\.1|localhost)(?::\d+)?\//.test(image);
}

/** Pulls an image into an empty directory and unpacks it. @throws Error from skopeo or umoci */
export async function pullImage(
  image: string,
  { folder, credentials }: { folder: string; credentials: string | undefined },
): Promise<RunnableImage> {
  const layout = join(folder, 'layout');
  // skopeo accepts a tag or a digest; the digest takes precedence.
  const source = image.replace(/:[^:@/]+(?=@)/, '');
  const authfile = join(folder, 'auth.json');
  await writeFile(authfile, credentials ?? '{}', { mode: 0o600 });
  const copied = ['--src-tls-verify=false', `--src-authfile=${authfile}`];
  await run(requireProgram('skopeo'), [
    'copy',
    '--quiet',
    ...copied,
    `docker://${source}`,
    `oci:${layout}:it`,
  ]);
  const bundle = join(folder, 'bundle');
  await run(requireProgram('umoci'), ['unpack', '--image', `${layout}:it`, bundle]);
  const { stdout } = await run(requireProgram('skopeo'), ['inspect', '--config', `oci:${layout}:it`]);
  const { config = {} } = configSchema.parse(JSON.parse(stdout));
  return {
    root: join(bundle, 'rootfs'),
    entrypoint: config.Entrypoint ?? [],
    arguments: config.Cmd ?? [],
    env: Object.fromEntries((config.Env ?? []).map(splitVariable)),
    ...(config.WorkingDir === undefined || config.WorkingDir === '' ? {} : { workingDir: config.WorkingDir }),
  };
}

function splitVariable(text: string): [string, string] {
  const [name = '', ...value] = text.split('=');
  return [name, value.join('=')];
}

const dockerConfigSchema = z.looseObject({ auths: z.record(z.string(), z.unknown()).optional() });

/** Merges docker configuration files into one. */
export function joinCredentials(configs: readonly string[]): string {
  const auths = configs.map((text) => dockerConfigSchema.parse(JSON.parse(text)).auths ?? {});
  return JSON.stringify({ auths: Object.assign({}, ...auths) as unknown });
}

/** The source of the containers' modprobe. */
export const modprobeProgram: Promise<string> = readFile(new URL('modprobe.sh', import.meta.url), 'utf8');
