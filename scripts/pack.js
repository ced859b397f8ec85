// Packs the package to publish:
//
//     npm run package [-- FOLDER]
//
// writes kmm-sign-VERSION.tgz into FOLDER (default: the current one), for `npm publish`. Its manifest is
// that of the repository, without the bundled packages and with `node` as an optional dependency. Everything
// is built in a temporary directory, so that the checkout is unchanged afterwards, even after an
// interruption.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { argv, execPath } from 'node:process';

const root = resolve(import.meta.dirname, '..');

/**
 * The fields that the published manifest takes from the repository's: none for developers, none for bundled
 * packages.
 */
const published = new Set([
  'name',
  'version',
  'description',
  'keywords',
  'license',
  'bin',
  'files',
  'type',
  'exports',
  'engines',
]);

/** Returns the manifest of the published package. */
function publishedManifest() {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const kept = Object.entries(manifest).filter(([field]) => published.has(field));
  return { ...Object.fromEntries(kept), optionalDependencies: { node: manifest.devDependencies.node } };
}

/** Runs a program in a directory, with our standard output and error. */
function run(program, args, cwd = root) {
  const { status, error } = spawnSync(program, args, { cwd, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed`);
}

function pack(destination) {
  const staging = mkdtempSync(join(tmpdir(), 'kmm-sign-package-'));
  try {
    for (const path of ['bin', 'fixtures/hello', 'README.md', 'LICENSE'])
      cpSync(join(root, path), join(staging, path), { recursive: true });
    const dist = join(staging, 'dist');
    run(execPath, ['scripts/build.js', '--no-source-maps', `--outdir=${dist}`]);
    run(execPath, [
      'node_modules/typescript/bin/tsc',
      '-p',
      'tsconfig.types.json',
      '--outDir',
      `${dist}/types`,
    ]);
    writeFileSync(join(staging, 'package.json'), `${JSON.stringify(publishedManifest(), null, 2)}\n`);
    run('npm', ['pack', '--silent', `--pack-destination=${destination}`], staging);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

if (argv[2] === '--refuse') {
  console.error(
    'The package is not packed from the checkout, whose manifest names what the bundle has in it.',
  );
  console.error('Run npm run package, and publish the file that it writes.');
  process.exitCode = 1;
} else {
  pack(resolve(argv[2] ?? '.'));
}
