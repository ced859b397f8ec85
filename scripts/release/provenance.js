// Writes what was made of what: a statement of in-toto with a predicate of SLSA, and checksums.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { architectures } from './images.js';
import { run } from './run.js';
import { helm, kubectl } from './programs.js';

/** Describes how a release is made; docs/releasing.md is there. */
const buildType = 'https://github.com/kmm-sign/kmm-sign/blob/main/docs/releasing.md';

/** Returns the checksums of the files in a folder, by their paths, sorted. Images are named by their own digests. */
export function checksumsIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((path) => !path.startsWith('images/'))
    .toSorted()
    .map((path) => [
      path,
      createHash('sha256')
        .update(readFileSync(join(folder, path)))
        .digest('hex'),
    ]);
}

/** Writes provenance.json. `images` are references with digests;  */
export function writeProvenance({ root, work, output, version, commit, registry }, images) {
  const files = checksumsIn(output).map(([name, sha256]) => ({ name, digest: { sha256 } }));
  const made = Object.values(images).map((reference) => {
    const [name, digest] = reference.split('@sha256:');
    return { name, digest: { sha256: digest } };
  });
  const lock = createHash('sha512')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [...made, ...files],
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType,
        externalParameters: { version, to: registry },
        internalParameters: { tools: toolVersions() },
        resolvedDependencies: [
          { uri: `git+https://github.com/kmm-sign/kmm-sign@${commit}`, digest: { gitCommit: commit } },
          { name: 'package-lock.json', digest: { sha512: lock } },
          ...debianPackages(work),
        ],
      },
      runDetails: { builder: { id: `${buildType}#npm-run-release` } },
    },
  };
  writeFileSync(join(output, 'provenance.json'), `${JSON.stringify(statement, null, 2)}\n`);
}

/** Returns the packages of the image's systems, each once. */
function debianPackages(work) {
  const lists = architectures.map((one) => join(work, `system-${one}`, 'packages.json'));
  const packages = lists.flatMap((list) => JSON.parse(readFileSync(list, 'utf8')));
  const named = packages.map(({ file, archive, path, sha256 }) => [
    file,
    { name: file, uri: `https://deb.debian.org/${archive}/${path}`, digest: { sha256 } },
  ]);
  return [...new Map(named).values()];
}

/** Writes SHA256SUMS, for `sha256sum --check`. */
export function writeChecksums({ output }) {
  const lines = checksumsIn(output).map(([path, sum]) => `${sum}  ${path}\n`);
  writeFileSync(join(output, 'SHA256SUMS'), lines.join(''));
}

function first(program, ...args) {
  return run(program, args).split('\n')[0];
}

/** The programs whose version may change a byte of the result. */
function toolVersions() {
  return {
    node: process.version,
    npm: first('npm', '--version'),
    buildah: first('buildah', '--version'),
    helm: first(helm(), 'version', '--template={{.Version}}'),
    kubectl: run(kubectl(), ['version', '--client', '--output=yaml']).match(/gitVersion: (\S+)/)?.[1] ?? '',
    tar: first('tar', '--version'),
    gzip: first('gzip', '--version'),
  };
}
