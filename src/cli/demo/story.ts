import { join } from 'node:path';
import { generateKeyPair } from '../../signer/keygen.ts';
import { loadSigner } from '../../signer/keys/load-signer.ts';
import { signImage } from '../../signer/sign-image.ts';
import { verifyImage } from '../../signer/inspect-image.ts';
import { Images } from '../session/open-image.ts';
import { noRegistryFlags } from '../options/registry-flags.ts';
import type { Session } from '../session/session.ts';
import { broken, compareLayers, compareModules, expect } from './compare.ts';
import { storyText, type Story } from './text.ts';
import { demoModulePath, pushVendorImage } from './vendor-image.ts';

export interface DemoOptions {
  /** The registry's address. */
  readonly address: string;
  /** The directory for the key, the certificate and extracted files. */
  readonly directory: string;
  readonly module: Buffer;
  readonly kept: boolean;
  readonly session: Session;
}

/** Runs the demonstration step by step, and checks that each step did what it claims. */
export async function runDemo(options: DemoOptions): Promise<void> {
  const { address, directory, module, session } = options;
  const { signal } = session;
  const flags = { ...noRegistryFlags, plainHttp: true, anonymous: true };
  const sourceName = `${address}/vendor/driver:1.0`;
  const destinationName = `${address}/signed/driver:1.0`;
  await using images = new Images(session);
  const source = await images.open(sourceName, flags);
  const destination = await images.openDestination(destinationName, flags);
  const layers = await pushVendorImage({ repository: source.repository, tag: '1.0', module, signal });

  const files = { key: join(directory, 'signing_key.key'), certificate: join(directory, 'signing_key.pem') };
  const { fingerprint } = await generateKeyPair({ commonName: 'kmm-sign demo', ...files, force: true });
  const signer = await loadSigner({ ...files, env: session.environment });
  const certificates = [signer.certificate];

  const before = await verifyImage({ image: source, certificates, signal });
  expect(before.worst === 'unsigned', 'the module is unsigned before');

  const started = performance.now();
  const signing = { source, destination, signer, files: [demoModulePath], signal };
  const report = await signImage({ ...signing, onProgress: session.progress.report });
  const seconds = (performance.now() - started) / 1000;
  expect(report.status === 'signed' && report.digest !== null, 'the image is signed');

  const signed = { repository: destination.repository, selector: { tag: '1.0' } };
  const after = await verifyImage({ image: signed, certificates, signal });
  expect(after.worst === 'trusted', 'the module is trusted after');
  const again = await signImage(signing);
  expect(again.status === 'unchanged' && again.digest === report.digest, 'signing again changes nothing');

  const manifest = await destination.repository.getManifest({ tag: '1.0' }, { signal });
  if (manifest.kind !== 'image') throw broken('the signed image is an image');
  const story: Story = {
    ...options,
    source: sourceName,
    destination: destinationName,
    fingerprint,
    modulePath: demoModulePath,
    layers: compareLayers(layers, manifest.layers),
    module: await compareModules({ image: signed, original: module, directory, signal }),
    report,
    seconds,
    again: again.status,
    imageSize: layers.reduce((total, { size }) => total + size, 0),
  };
  session.output({ json: () => storyFacts(story), text: () => storyText(story) });
}

function storyFacts({ source, destination, fingerprint, layers, module, report, again }: Story): object {
  return { source, destination, fingerprint, layers, module, report, again };
}
