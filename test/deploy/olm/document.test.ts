import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { expect, it } from 'vitest';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith } from '../../support/programs.ts';
import { readBundle, writeBundles } from './lifecycle-manager.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const text = await readFile(join(root, 'docs/olm.md'), 'utf8');
const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };

describeWith(['kubectl'], 'docs/olm.md', () => {
  it('builds what npm run bundle writes, under the names that the catalog has', async () => {
    await using directory = await createTemporaryDirectory();
    await writeBundles(directory.path, '--bundle-registry', 'REGISTRY');
    for (const name of ['kernel-module-management', 'kernel-module-management-hub', 'nfd']) {
      const image = `REGISTRY/${name}-bundle:${version}`;
      expect(text).toContain(`docker build -f olm/${name}/bundle.Dockerfile -t ${image} olm/${name}\n`);
      expect(text).toContain(`docker push ${image}\n`);
      expect(await readFile(join(directory.path, `catalog/${name}/catalog.yaml`), 'utf8')).toContain(image);
      const dockerfile = await readFile(join(directory.path, name, 'bundle.Dockerfile'), 'utf8');
      for (const [, from = ''] of dockerfile.matchAll(/^COPY (\S+)/gm))
        await expect(readFile(join(directory.path, name, from, '.'))).rejects.toThrow('EISDIR');
      const { csv } = await readBundle(join(directory.path, name));
      for (const deployment of csv.spec.install.spec.deployments.slice(0, 1))
        expect(text).toContain(`\`${deployment.name}\``);
      const annotations = parse(
        await readFile(join(directory.path, name, 'metadata/annotations.yaml'), 'utf8'),
      ) as object;
      expect(annotations).toMatchObject({
        annotations: { 'operators.operatorframework.io.bundle.package.v1': name },
      });
    }
  });
});
