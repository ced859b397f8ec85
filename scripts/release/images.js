// Makes images as OCI layouts, with the same digest each time, and without running anything of an image's architecture.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { arch, execPath } from 'node:process';
import { run } from './run.js';

/** The architectures of the images, by their names in Go and in Debian. */
export const architectures = ['amd64', 'arm64'];

/** The architecture of this machine, the only one that V8 can compile for here. */
const ownArchitecture = { x64: 'amd64', arm64: 'arm64' }[arch];

/** Makes images with Buildah, in a storage of its own. */
export class ImageBuilder {
  #release;
  #buildah;

  /** `release` has root, output, work, version, commit, epoch and registry. */
  constructor(release) {
    this.#release = release;
    const storage = ['--root', join(release.work, 'storage'), '--runroot', join(release.work, 'storage-run')];
    this.#buildah = (...args) => run('buildah', [...storage, ...args], { env: release.env });
  }

  /** Makes the images of the program and of module loaders. Returns the references with digests, by name. */
  makePrograms() {
    const { root, work, env, packages } = this.#release;
    const scripts = join(root, 'scripts/image');
    const node = (name, ...args) => run(execPath, [join(scripts, name), ...args], { cwd: root, env });
    const platforms = architectures.map((architecture) => {
      const application = join(work, `application-${architecture}`);
      const options = architecture === ownArchitecture ? [] : ['--no-code-cache'];
      node('application.js', `--output=${application}/out`, ...options);
      const system = join(work, `system-${architecture}`);
      const list = [`--packages=${packages}`, `--list=${system}/packages.json`];
      node('system.js', `--arch=${architecture}`, `--output=${system}/out`, ...list);
      const loader = join(work, `loader-${architecture}`);
      run('sh', [join(scripts, 'loader-root.sh'), join(system, 'out'), join(loader, 'out')], { env });
      return { architecture, contexts: { system, application, 'loader-root': loader } };
    });
    const context = join(work, 'nothing');
    mkdirSync(context);
    const file = join(root, 'Dockerfile');
    return {
      'kmm-sign': this.#make({ name: 'kmm-sign', file, context, platforms }),
      'kmm-sign-loader': this.#make({
        name: 'kmm-sign-loader',
        file,
        context,
        platforms,
        options: ['--target=loader'],
      }),
    };
  }

  /** Makes an image of files that are the same for all architectures. Returns the reference with the digest. */
  makeFiles(name, file, context, tag = this.#release.version) {
    const platforms = [{ architecture: 'amd64', contexts: {} }];
    return this.#make({ name, file, context, platforms, tag });
  }

  #make({ name, file, context, platforms, tag = this.#release.version, options: more = [] }) {
    const { output, version, commit, epoch, registry } = this.#release;
    const list = `localhost/${name}:${tag}`;
    const labels = {
      'org.opencontainers.image.source': 'https://github.com/kmm-sign/kmm-sign',
      'org.opencontainers.image.revision': commit,
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.licenses': 'Apache-2.0',
    };
    const labelled = Object.entries(labels).map(([key, value]) => `--label=${key}=${value}`);
    const built = platforms.map(({ architecture, contexts }) => {
      const image = `${list}-${architecture}`;
      const others = Object.entries(contexts).map(([stage, path]) => `--build-context=${stage}=${path}`);
      const options = [
        `--timestamp=${epoch}`,
        '--identity-label=false',
        '--layers',
        '--pull=never',
        '--quiet',
      ];
      const platform = `--platform=linux/${architecture}`;
      const where = [`--tag=${image}`, `--file=${file}`, context];
      this.#buildah('build', ...options, ...more, ...labelled, ...others, platform, ...where);
      return image;
    });
    const layout = join(output, 'images', name);
    mkdirSync(join(output, 'images'), { recursive: true });
    if (built.length === 1)
      this.#buildah('push', '--quiet', '--format=oci', built[0], `oci:${layout}:${tag}`);
    else {
      this.#buildah('manifest', 'create', list);
      for (const image of built) this.#buildah('manifest', 'add', list, image);
      this.#buildah('manifest', 'push', '--quiet', '--all', '--format=oci', list, `oci:${layout}:${tag}`);
    }
    return `${registry}/${name}@${digestIn(layout, tag)}`;
  }
}

/** Returns the digest of an image in an OCI layout. */
export function digestIn(layout, tag) {
  const { manifests } = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
  const found = manifests.find(
    ({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === tag,
  );
  if (found === undefined) throw new Error(`${layout} has no image ${tag}`);
  return found.digest;
}
