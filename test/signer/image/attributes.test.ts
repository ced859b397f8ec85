import { describe, expect, it } from 'vitest';
import { signReportText } from '../../../src/cli/output/sign-report.ts';
import type { ImageManifest } from '../../../src/registry/model/manifest.ts';
import { decompressLayer } from '../../../src/registry/layer/decompress.ts';
import { defaultLayerLimits } from '../../../src/registry/layer/layer-source.ts';
import { readTar } from '../../../src/registry/tar/reader.ts';
import { signImage, storeImage, withParents, useSigningBench } from '../../support/signed-images.ts';

const bench = useSigningBench();

const pax = {
  'SCHILY.xattr.security.ima': 'digest of the unsigned file',
  'LIBARCHIVE.xattr.security.evm': 'c2lnbmF0dXJl',
  'SCHILY.xattr.security.selinux': 'system_u:object_r:modules_object_t:s0',
};

/** PAX keys of attributes of a file in the topmost layer that has it. */
async function attributesOf(name: string, path: string): Promise<string[]> {
  const repository = bench.repository(name);
  const manifest = (await repository.getManifest({ tag: '1.0' })) as ImageManifest;
  let keys: string[] = [];
  for (const layer of manifest.layers) {
    const blob = await repository.openBlob(layer);
    const { tar } = await decompressLayer(blob, { limits: defaultLayerLimits });
    for await (const entry of readTar(tar, { maxEntries: 100 })) {
      if (entry.path === path) keys = [...entry.pax.keys()].filter((key) => key.includes('xattr'));
    }
  }
  return keys;
}

describe.each(['rewrite', 'append'] as const)('attributes that IMA and EVM appraise (%s)', (mode) => {
  it('go from modules that get new content, and the report says so', async () => {
    const source = bench.repository(`vendor/ima-${mode}`);
    const name = `signed/ima-${mode}`;
    await storeImage(
      source,
      {
        layers: [
          {
            entries: [...withParents('m/a.ko', bench.hello, { pax }), { name: 'm/tool', content: 'x', pax }],
          },
        ],
      },
      '1.0',
    );
    const destination = { repository: bench.repository(name), tag: '1.0' };
    const signing = { source: { repository: source, selector: { tag: '1.0' } }, destination, mode };
    const planned = await signImage({ ...signing, signer: bench.key.signer, dryRun: true });
    const report = await signImage({ ...signing, signer: bench.key.signer });
    expect(await attributesOf(name, 'm/a.ko')).toEqual(['SCHILY.xattr.security.selinux']);
    expect(await attributesOf(name, 'm/tool')).toEqual(Object.keys(pax));
    const removed = ['security.evm', 'security.ima'];
    expect(report.platforms[0]?.modules).toMatchObject([{ path: '/m/a.ko', removedAttributes: removed }]);
    expect(signReportText(report, 'r')).toContain('removed security.evm and security.ima of /m/a.ko');
    expect(signReportText(planned, 'r')).toContain('would remove security.evm and security.ima of /m/a.ko');
    const again = await signImage({ ...signing, signer: bench.key.signer });
    expect(again.platforms[0]?.modules).toMatchObject([{ action: 'unchanged', removedAttributes: [] }]);
  });
});
