// Makes the bundles and the catalog of the Operator Lifecycle Manager, and their images.
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { run } from './run.js';

/** An image that `opm serve` need not be in: OLM extracts the folder, as docs/olm.md says. */
const catalogDockerfile = `FROM scratch
LABEL operators.operatorframework.io.index.configs.v1=/configs
COPY catalog /configs
`;

/** Makes the images of the bundles, and of a catalog that names them by their digests. Returns the references by name. */
export function makeOperatorBundles(release, builder, programs) {
  const { root, output, registry, env } = release;
  const olm = join(output, 'olm');
  const bundle = (...args) => {
    const images = [`--image=${programs['kmm-sign']}`, `--loader-image=${programs['kmm-sign-loader']}`];
    const options = [...images, `--bundle-registry=${registry}`, `--output=${olm}`, ...args];
    run(execPath, [join(root, 'scripts/bundle.js'), ...options], { cwd: root, env });
  };
  bundle();
  const packages = readdirSync(olm).filter((name) => name !== 'catalog');
  const images = packages.map((name) => {
    const dockerfile = join(olm, name, 'bundle.Dockerfile');
    return [`${name}-bundle`, builder.makeFiles(`${name}-bundle`, dockerfile, join(olm, name))];
  });
  // The catalog is written again, now that the digests of the bundles are known.
  bundle(...images.map(([, reference]) => `--bundle-image=${reference}`));
  const context = join(release.work, 'catalog');
  mkdirSync(context);
  writeFileSync(join(context, 'Dockerfile'), catalogDockerfile);
  renameSync(join(olm, 'catalog'), join(context, 'catalog'));
  const catalog = builder.makeFiles('kmm-sign-catalog', join(context, 'Dockerfile'), context);
  renameSync(join(context, 'catalog'), join(olm, 'catalog'));
  return Object.fromEntries([...images, ['kmm-sign-catalog', catalog]]);
}
