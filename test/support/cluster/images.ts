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
  /** Folder that holds the container's root, which is copied; without it, the programs of this machine. */
  readonly root?: string | undefined;
  /** Folders of this machine that the container sees, read-only, in their places. */
  readonly folders?: readonly string[] | undefined;
  /** Commands of the container, and what they start. */
  readonly programs?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly entrypoint?: readonly string[] | undefined;
  readonly arguments?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly workingDir?: string | undefined;
}

/** Prepares an image that no registry has, in an empty folder. It is done once per kubelet. */
export type LocalImage = (folder: string) => Promise<RunnableImage>;

/** The programs of this machine, and others: the command and what it starts. */
export function hostImage(programs: Readonly<Record<string, readonly string[]>> = {}): LocalImage {
  return () => Promise.resolve({ programs });
}

/** kmm-sign as it is built from this checkout. */
export function kmmSignImage(): LocalImage {
  const program = join(repository, 'bin', 'kmm-sign.js');
  return () =>
    Promise.resolve({
      folders: [repository, dirname(process.execPath)],
      programs: { 'kmm-sign': [process.execPath, program] },
      entrypoint: ['kmm-sign'],
    });
}

/** Debian's buildah. */
export function buildahImage(): LocalImage {
  return () => Promise.resolve({ env: { HOME: '/root', STORAGE_DRIVER: 'vfs' } });
}

/** Kaniko's executor in a root of its own, laid out as its image is. */
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
        // It looks for signs that it is in a container, and refuses to work elsewhere.
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

/** Whether a registry of this machine has the image; the kubelet pulls from no other. */
export function isPullable(image: string): boolean {
  return /^(?:127\.0\.0\.1|localhost)(?::\d+)?\//.test(image);
}

/** Pulls an image into an empty folder and unpacks it. @throws Error as skopeo or umoci tells it */
export async function pullImage(
  image: string,
  { folder, credentials }: { folder: string; credentials: string | undefined },
): Promise<RunnableImage> {
  const layout = join(folder, 'layout');
  // skopeo takes a tag or a digest; with both, the digest counts.
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

/** Joins docker configuration files to one. */
export function joinCredentials(configs: readonly string[]): string {
  const auths = configs.map((text) => dockerConfigSchema.parse(JSON.parse(text)).auths ?? {});
  return JSON.stringify({ auths: Object.assign({}, ...auths) as unknown });
}

/** Text of the modprobe that containers have. */
export const modprobeProgram: Promise<string> = readFile(new URL('modprobe.sh', import.meta.url), 'utf8');
