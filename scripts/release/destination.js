// What is at the registries already: a version is published once, and publishing the same again completes it.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { execPath } from 'node:process';
import { attempt, run } from './run.js';

/** Exit codes of the program: the image does not exist, the login is refused. */
const notFound = 3;
const denied = 4;

/**
 * Returns the environment in which skopeo, helm, cosign and this program use the same login, which each of them looks for
 * elsewhere: that of REGISTRY_AUTH_FILE, of DOCKER_CONFIG, of `skopeo login` or of `docker login`.
 */
export function shareLogin({ work, env }) {
  const candidates = [
    env.REGISTRY_AUTH_FILE,
    env.DOCKER_CONFIG && join(env.DOCKER_CONFIG, 'config.json'),
    env.XDG_RUNTIME_DIR && join(env.XDG_RUNTIME_DIR, 'containers/auth.json'),
    join(env.HOME || homedir(), '.docker/config.json'),
  ];
  const login = candidates.find((file) => file && existsSync(file));
  if (login === undefined) return env;
  const folder = join(work, 'login');
  const file = join(folder, 'config.json');
  mkdirSync(folder);
  symlinkSync(resolve(login), file);
  return { ...env, DOCKER_CONFIG: folder, REGISTRY_AUTH_FILE: file, HELM_REGISTRY_CONFIG: file };
}

/** Returns the images that are to be pushed, with name, tag, digest and layout. */
export function imagesIn(output) {
  const folder = join(output, 'images');
  return readdirSync(folder).flatMap((name) => {
    const layout = join(folder, name);
    const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
    return manifests.map(({ digest, annotations }) => {
      const tag = annotations['org.opencontainers.image.ref.name'];
      return { name, tag, digest, layout };
    });
  });
}

/**
 * Returns the digest of an image that is there, or undefined. A registry that does not say what it has may still let it be
 * pushed: ghcr.io denies to read what does not exist. @throws Error if it cannot be asked
 */
export function digestAt(reference, { program, env, plainHttp }) {
  const options = plainHttp ? ['--plain-http'] : [];
  const { status, stdout, stderr } = attempt(execPath, [program, 'resolve', reference, ...options], { env });
  if (status === 0) return /sha256:[0-9a-f]{64}/.exec(stdout)?.[0];
  if (status === notFound || status === denied) return undefined;
  throw new Error(`${reference} cannot be looked for:\n${stderr.trim()}`);
}

/** Tells whether an image is to be pushed. @throws Error if its tag is another image's */
export function isNewImage({ name, tag, digest }, destination) {
  const reference = `${destination.to}/${name}:${tag}`;
  return isNew(reference, digestAt(reference, destination), digest);
}

/** Tells whether a chart is to be pushed. @throws Error if there is another one of its version */
export function isNewChart({ chart, version }, destination) {
  const reference = `${destination.to}/charts/kmm-sign:${version}`;
  if (digestAt(reference, destination) === undefined) return true;
  const inspect = ['inspect', '--raw', `--tls-verify=${!destination.plainHttp}`, `docker://${reference}`];
  const { layers } = JSON.parse(run('skopeo', inspect, { env: destination.env }));
  return isNew(reference, layers[0].digest, digestOf(chart, 'sha256', 'hex', ':'));
}

/** Tells whether the package is to be published. @throws Error if there is another one of its version */
export function isNewPackage({ archive, version }, { npm, env }) {
  const name = `kmm-sign@${version}`;
  const view = ['view', name, 'dist.integrity', '--loglevel=error', ...npm];
  const { status, stdout, stderr } = attempt('npm', view, { env });
  if (status !== 0 && !stderr.includes('E404')) throw new Error(`npm view ${name} failed:\n${stderr.trim()}`);
  // npm prints nothing for a version that a known package does not have.
  const found = status === 0 && stdout.trim() !== '' ? stdout.trim() : undefined;
  return isNew(`${name} at npm`, found, digestOf(archive, 'sha512', 'base64', '-'));
}

function isNew(name, found, made) {
  if (found === undefined) return true;
  if (found !== made)
    throw new Error(`${name} is there already, with ${found} in place of ${made}; release another version`);
  console.log(`${name} is there already, the same`);
  return false;
}

function digestOf(file, algorithm, encoding, separator) {
  return `${algorithm}${separator}${createHash(algorithm).update(readFileSync(file)).digest(encoding)}`;
}
