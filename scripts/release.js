// Makes everything that a release consists of, from a clean checkout, and publishes it:
//
//     npm run release -- --version X.Y.Z --to REGISTRY [--dry-run] [--output DIR] [--key FILE --cert FILE]
//                        [--packages pinned|FILE] [--plain-http] [--cosign keyless|KEY]
//                        [--npm [--npm-registry URL] [--no-provenance]] [--github]
//
// REGISTRY is a host and the beginning of a path, as in ghcr.io/kmm-sign. With --dry-run nothing is published: in place of
// REGISTRY, the images and the chart go to DIR/registry, which `kmm-sign registry --root DIR/registry` serves. --key and --cert
// sign the example image. docs/releasing.md says what is made, and what --npm, --github and --cosign publish.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { env } from 'node:process';
import { parseArgs } from 'node:util';
import { CheckoutError } from './release/checkout.js';
import { makeRelease } from './release/make.js';
import { publishRelease } from './release/publish.js';

const { values: options } = parseArgs({
  options: {
    version: { type: 'string' },
    to: { type: 'string' },
    'dry-run': { type: 'boolean', default: false },
    output: { type: 'string', default: 'release' },
    packages: { type: 'string', default: 'pinned' },
    key: { type: 'string', default: env.KMM_SIGN_KEY },
    cert: { type: 'string', default: env.KMM_SIGN_CERT },
    'plain-http': { type: 'boolean', default: false },
    npm: { type: 'boolean', default: false },
    'npm-registry': { type: 'string' },
    'no-provenance': { type: 'boolean', default: false },
    github: { type: 'boolean', default: false },
    cosign: { type: 'string' },
  },
});

/** Ends with what is wrong with the command line. */
function refuse(message) {
  console.error(`release: ${message}`);
  process.exit(2);
}
if (options.version === undefined || options.to === undefined) refuse('--version and --to are needed');
if (!/^[^/@]+(?:\/[a-z0-9._-]+)+$/.test(options.to) || options.to.includes('://'))
  refuse('--to is a host and a path, as in ghcr.io/kmm-sign');
if ((options.key === undefined) !== (options.cert === undefined)) refuse('--key and --cert go together');
if (options.key === undefined && !options['dry-run'])
  refuse('--key and --cert are needed to sign the example');

// Permissions of files are part of what is made.
process.umask(0o022);
const work = mkdtempSync(join(tmpdir(), 'kmm-sign-release-'));
try {
  const release = makeRelease({
    root: resolve(import.meta.dirname, '..'),
    work,
    output: resolve(options.output),
    version: options.version,
    registry: options.to,
    packages: options.packages === 'pinned' ? 'pinned' : resolve(options.packages),
    isDryRun: options['dry-run'],
    signing: options.key === undefined ? undefined : { key: options.key, certificate: options.cert },
  });
  await publishRelease(release, options);
} catch (error) {
  console.error(`release: ${error.message}`);
  process.exitCode = error instanceof CheckoutError ? 2 : 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
