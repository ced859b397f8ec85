// Runs the programs that a release is made with.
import { spawnSync } from 'node:child_process';

/** Most that a program may print, in bytes. */
const outputLimit = 2 ** 26;

/** Where programs that a machine may not have come from. */
const sources = {
  buildah: 'Debian package buildah',
  skopeo: 'Debian package skopeo',
  'dpkg-deb': 'Debian package dpkg',
  tar: 'Debian package tar',
  git: 'Debian package git',
  gh: 'https://cli.github.com',
  helm: 'npm run assets helm, or https://helm.sh',
  kubectl: 'npm run assets kubectl, or https://kubernetes.io',
  cosign: 'npm run assets cosign, or https://github.com/sigstore/cosign',
};

/** Runs a program and returns how it ended: `status`, and all that it printed. @throws Error if it cannot be run */
export function attempt(program, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: outputLimit,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  });
  const name = program.slice(program.lastIndexOf('/') + 1);
  if (error) throw new Error(`${program} cannot be run (${sources[name] ?? 'see PATH'}): ${error.message}`);
  return { status, stdout, stderr };
}

/**
 * Runs a program and returns what it prints, without the last line end. Its messages are shown only if it fails.
 * @throws Error with the program's messages
 */
export function run(program, args, options = {}) {
  const { status, stdout, stderr } = attempt(program, args, options);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${`${stdout}${stderr}`.trim()}`);
  return stdout.trimEnd();
}
