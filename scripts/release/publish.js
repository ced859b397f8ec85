// Publishes what was made: to a registry, to npm, to GitHub.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { startRegistry } from './local-registry.js';
import { helm } from './programs.js';
import { run } from './run.js';

/**
 * Publishes a release. A dry run pushes to a registry of its own in the output, under the same paths, and publishes nothing
 * else. `options` are those of the command line.
 */
export async function publishRelease(release, options) {
  const { isDryRun, output, registry, version } = release;
  const local = isDryRun ? await startRegistry(join(output, 'registry'), release) : undefined;
  try {
    const to = local === undefined ? registry : local.host + registry.slice(registry.indexOf('/'));
    const destination = { to, plainHttp: isDryRun || options['plain-http'] };
    console.log(`pushing to ${to}`);
    pushImages(release, destination);
    const chart = pushChart(release, destination);
    if (options.cosign !== undefined) signAll(release, destination, chart, options.cosign);
  } finally {
    await local?.stop();
  }
  if (options.npm && !isDryRun) run('npm', ['publish', release.archive, '--access=public', '--provenance']);
  if (options.github && !isDryRun) publishOnGitHub(release);
  console.log(`${isDryRun ? 'made' : 'published'} ${version}: ${output}`);
}

/** Copies the images, each with its tag. */
function pushImages({ output }, { to, plainHttp }) {
  const folder = join(output, 'images');
  for (const name of readdirSync(folder)) {
    const { manifests } = JSON.parse(readFileSync(join(folder, name, 'index.json'), 'utf8'));
    for (const { annotations } of manifests) {
      const tag = annotations['org.opencontainers.image.ref.name'];
      const options = ['--quiet', '--all', '--preserve-digests', `--dest-tls-verify=${!plainHttp}`];
      run('skopeo', [
        'copy',
        ...options,
        `oci:${join(folder, name)}:${tag}`,
        `docker://${to}/${name}:${tag}`,
      ]);
    }
  }
}

/** Pushes the chart, and returns its digest. */
function pushChart({ output, chart, version, program, env }, { to, plainHttp }) {
  const options = plainHttp ? ['--plain-http'] : [];
  run(helm(), ['push', chart, `oci://${to}/charts`, ...options]);
  const resolve = ['resolve', `${to}/charts/kmm-sign:${version}`, ...options];
  const digest = run(execPath, [program, ...resolve], { env });
  writeFileSync(join(output, 'chart/digest'), digest);
  return digest;
}

/** Signs images and chart with cosign: with a key, or with the identity of the workflow that this is run by. */
function signAll({ images }, { to, plainHttp }, chart, cosign) {
  const key =
    cosign === 'keyless' ? [] : [`--key=${cosign}`, '--tlog-upload=false', '--use-signing-config=false'];
  const options = ['--yes', ...(plainHttp ? ['--allow-http-registry'] : [])];
  const names = Object.values(images).map((reference) => reference.slice(reference.lastIndexOf('/') + 1));
  for (const name of [...names, `charts/kmm-sign@${chart}`])
    run('cosign', ['sign', ...options, ...key, `${to}/${name}`]);
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
