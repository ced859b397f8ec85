// Publishes what was made: to a registry, to npm, to GitHub.
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestAt, imagesIn, isNewChart, isNewImage, isNewPackage, shareLogin } from './destination.js';
import { startRegistry } from './local-registry.js';
import { cosign, helm } from './programs.js';
import { run } from './run.js';

/**
 * Publishes a release. A dry run pushes to a registry of its own in the output, under the same paths, and publishes nothing
 * else. `options` are those of the command line. @throws Error before anything is published if the version is there already
 * with other contents
 */
export async function publishRelease(release, options) {
  const { isDryRun, output, registry, version, program } = release;
  const local = isDryRun ? await startRegistry(join(output, 'registry'), release) : undefined;
  try {
    const destination = {
      to: local === undefined ? registry : local.host + registry.slice(registry.indexOf('/')),
      plainHttp: isDryRun || options['plain-http'],
      npm: options['npm-registry'] === undefined ? [] : [`--registry=${options['npm-registry']}`],
      program,
      env: isDryRun ? release.env : shareLogin(release),
    };
    const images = imagesIn(output).filter((image) => isNewImage(image, destination));
    const hasNewChart = isNewChart(release, destination);
    const hasNewPackage = options.npm && !isDryRun && isNewPackage(release, destination);
    console.log(`pushing to ${destination.to}`);
    pushImages(images, destination);
    // Last, since it is what names the images.
    const chart = pushChart(release, destination, hasNewChart);
    if (options.cosign !== undefined) signAll(release, destination, chart, options.cosign);
    if (hasNewPackage) publishPackage(release, destination, options['no-provenance']);
  } finally {
    await local?.stop();
  }
  if (options.github && !isDryRun) publishOnGitHub(release);
  console.log(`${isDryRun ? 'made' : 'published'} ${version}: ${output}`);
}

/** Copies images, each with its tag. */
function pushImages(images, { to, plainHttp, env }) {
  const options = ['--quiet', '--all', '--preserve-digests', `--dest-tls-verify=${!plainHttp}`];
  for (const { name, tag, layout } of images)
    run('skopeo', ['copy', ...options, `oci:${layout}:${tag}`, `docker://${to}/${name}:${tag}`], { env });
}

/** Pushes the chart if it is new, and returns its digest. */
function pushChart({ output, chart, version }, destination, isNew) {
  const { to, plainHttp, env } = destination;
  const options = plainHttp ? ['--plain-http'] : [];
  if (isNew) run(helm(), ['push', chart, `oci://${to}/charts`, ...options], { env });
  const digest = digestAt(`${to}/charts/kmm-sign:${version}`, destination);
  if (digest === undefined) throw new Error(`${to}/charts/kmm-sign:${version} cannot be read after its push`);
  writeFileSync(join(output, 'chart/digest'), digest);
  return digest;
}

/** Signs images and chart with cosign: with a key, or with the identity of the workflow that this is run by. */
function signAll({ images }, { to, plainHttp, env }, chart, key) {
  const identity =
    key === 'keyless' ? [] : [`--key=${key}`, '--tlog-upload=false', '--use-signing-config=false'];
  const options = ['--yes', ...(plainHttp ? ['--allow-http-registry'] : [])];
  const names = Object.values(images).map((reference) => reference.slice(reference.lastIndexOf('/') + 1));
  for (const name of [...names, `charts/kmm-sign@${chart}`])
    run(cosign(), ['sign', ...options, ...identity, `${to}/${name}`], { env });
}

/** Publishes the npm package. A provenance of npm's own takes a workflow that npm knows. */
function publishPackage({ archive }, { npm, env }, withoutProvenance) {
  const options = ['--access=public', '--loglevel=error', ...(withoutProvenance ? [] : ['--provenance'])];
  run('npm', ['publish', archive, ...options, ...npm], { env });
}

/** Publishes the tag of the Action, and the release with its files. */
function publishOnGitHub({ root, output, version, actionCommit }) {
  run('git', ['push', 'origin', `${actionCommit}:refs/tags/action-v${version}`], { cwd: root });
  const folders = ['npm', 'chart', 'manifests', 'sbom'];
  const files = folders.flatMap((folder) =>
    readdirSync(join(output, folder))
      .filter((name) => name.includes('.'))
      .map((name) => join(output, folder, name)),
  );
  const texts = ['SHA256SUMS', 'provenance.json', 'images.json', 'example-driver.pem'];
  const notes = `--notes-file=${join(output, 'notes.md')}`;
  const more = texts.map((name) => join(output, name));
  run('gh', ['release', 'create', `v${version}`, '--verify-tag', notes, ...files, ...more], { cwd: root });
}
