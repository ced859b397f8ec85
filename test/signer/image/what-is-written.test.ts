import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { signImage, storeImage, withParents, useSigningBench } from '../../support/signed-images.ts';
import { describeWith } from '../../support/programs.ts';

const bench = useSigningBench();

describeWith(['sign-file'], 'signImage', (programs) => {
  it('replaces two signatures of its own by one, and sends no layer that it replaced', async () => {
    const file = join(bench.folder, 'twice.ko');
    writeFileSync(file, bench.hello);
    const sign = ['sha256', bench.key.key, bench.key.certificate, file];
    execFileSync(programs['sign-file'], sign);
    execFileSync(programs['sign-file'], sign);
    const source = bench.repository('vendor/twice');
    const destination = bench.repository('signed/twice');
    await storeImage(source, { layers: [{ entries: withParents('m/a.ko', readFileSync(file)) }] }, '1.0');
    const report = await signImage({
      source: { repository: source, selector: { tag: '1.0' } },
      destination: { repository: destination, tag: '1.0' },
      signer: bench.key.signer,
      existing: 'replace',
    });
    expect(report.platforms[0]?.modules).toMatchObject([{ path: '/m/a.ko', action: 'replaced' }]);
    const before = await source.getManifest({ tag: '1.0' });
    const [layer] = before.kind === 'image' ? before.layers : [];
    if (layer === undefined) throw new Error('the source has no layer');
    expect(await destination.hasBlob(layer)).toBe(false);
  });
});
