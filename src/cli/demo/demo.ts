import { join, resolve } from 'node:path';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { generateKeyPair } from '../../signer/keygen.ts';
import { loadSigner } from '../../signer/keys/load-signer.ts';
import { signImage } from '../../signer/sign-image.ts';
import { verifyImage } from '../../signer/inspect-image.ts';
import { Images } from '../session/open-image.ts';
import { noRegistryFlags } from '../options/registry-flags.ts';
import type { Session } from '../session/session.ts';
import {
  claimError,
  compareLayers,
  compareModules,
  requireClaim,
  type LayerComparison,
  type ModuleComparison,
} from './compare.ts';
import { demoModulePath, pushVendorImage } from './vendor-image.ts';
import type { SignReport } from '../../signer/model/report.ts';
import { formatBytes, shortDigest } from '../output/text.ts';
import { startRegistry } from '../../registry/server/server.ts';
import { createDirectory } from '../../shared/create-directory.ts';
import { createTemporaryDirectory } from '../../shared/temporary.ts';

/** The module shipped with the package, relative to the built program. */
const moduleFile = fileURLToPath(new URL('../fixtures/hello/hello.ko', import.meta.url));

/** Runs the demonstration on the embedded registry. @throws Error if a step does not do what it claims */
export async function demo(
  { keep }: { readonly keep?: string | undefined },
  session: Session,
): Promise<void> {
  await using temporary = await createTemporaryDirectory();
  const directory = keep === undefined ? temporary.path : resolve(keep);
  await createDirectory(directory);
  const registry = await startRegistry({ root: `${directory}/registry`, logger: session.logger });
  try {
    const results = await runSteps(registry.address, directory, session);
    session.output({
      json: () => outputFields(results),
      text: () => [...resultLines(results), ...lastLines(results, directory, keep !== undefined)].join('\n'),
    });
  } finally {
    await registry.close();
  }
}

/** The results of the demonstration. */
interface DemoResults {
  /** The registry's address. */
  readonly address: string;
  readonly source: string;
  readonly destination: string;
  readonly fingerprint: string;
  readonly layers: readonly LayerComparison[];
  readonly module: ModuleComparison;
  readonly report: SignReport;
  readonly seconds: number;
  readonly again: string;
  /** Total size of the layers of the vendor's image, in bytes. */
  readonly imageSize: number;
}

/** Runs the demonstration step by step, and checks that each step did what it claims. */
async function runSteps(address: string, directory: string, session: Session): Promise<DemoResults> {
  const { signal } = session;
  const module = await readFile(moduleFile);
  const flags = { ...noRegistryFlags, plainHttp: true, anonymous: true };
  const sourceName = `${address}/vendor/driver:1.0`;
  const destinationName = `${address}/signed/driver:1.0`;
  await using images = new Images(session);
  const source = await images.open(sourceName, flags);
  const destination = await images.openDestination(destinationName, flags);
  const layers = await pushVendorImage(source.repository, '1.0', module, signal);

  const files = { key: join(directory, 'signing_key.key'), certificate: join(directory, 'signing_key.pem') };
  const { fingerprint } = await generateKeyPair({ commonName: 'kmm-sign demo', ...files, force: true });
  const signer = await loadSigner({ ...files, env: session.environment });
  const certificates = [signer.certificate];

  const before = await verifyImage({ image: source, certificates, signal });
  requireClaim(before.worst === 'unsigned', 'the module is unsigned before');

  const started = performance.now();
  const signing = { source, destination, signer, files: [demoModulePath], signal };
  const report = await signImage({ ...signing, onProgress: session.progress.report });
  const seconds = (performance.now() - started) / 1000;
  requireClaim(report.status === 'signed' && report.digest !== null, 'the image is signed');

  const signed = { repository: destination.repository, selector: { tag: '1.0' } };
  const after = await verifyImage({ image: signed, certificates, signal });
  requireClaim(after.worst === 'trusted', 'the module is trusted after');
  const again = await signImage(signing);
  requireClaim(
    again.status === 'unchanged' && again.digest === report.digest,
    'signing again changes nothing',
  );

  const manifest = await destination.repository.getManifest({ tag: '1.0' }, { signal });
  if (manifest.kind !== 'image') throw claimError('the signed image is an image');
  return {
    address,
    source: sourceName,
    destination: destinationName,
    fingerprint,
    layers: compareLayers(layers, manifest.layers),
    module: await compareModules(signed, module, directory, signal),
    report,
    seconds,
    again: again.status,
    imageSize: layers.reduce((total, { size }) => total + size, 0),
  };
}

function outputFields(results: DemoResults): object {
  const { source, destination, fingerprint, layers, module, report, again } = results;
  return { source, destination, fingerprint, layers, module, report, again };
}

/** Formats the results to fit on one screen. */
function resultLines(results: DemoResults): string[] {
  const { module, report, layers } = results;
  const growth = module.sizeAfter - module.sizeBefore;
  return [
    `1 registry  ${results.address}, the embedded one`,
    `2 key       RSA 4096, certificate ${results.fingerprint.slice(0, 16)}…`,
    `3 vendor    pushed ${results.source}: ${layers.length} layers, ${formatBytes(results.imageSize)}`,
    `            ${demoModulePath}: unsigned`,
    '4 sign      kmm-sign sign SOURCE DESTINATION --key signing_key.key --cert signing_key.pem \\',
    `              --file ${demoModulePath}`,
    ...layers.map(layerLine),
    `            module   ${module.sizeBefore} bytes unchanged + ${growth} bytes of signature (${report.hash})`,
    `            moved    ${formatBytes(report.bytesDown)} down, ${formatBytes(report.bytesUp)} up, in ${results.seconds.toFixed(2)} s`,
    `5 verify    ${demoModulePath}: trusted`,
    `6 again     ${results.again}: the same image, nothing written`,
    '',
  ];
}

function layerLine({ from, to, same, size }: LayerComparison, at: number): string {
  const change = same ? `${shortDigest(from)} same` : `${shortDigest(from)} → ${shortDigest(to)}`;
  return `            layer ${at + 1}  ${change} (${formatBytes(size)})`;
}

function lastLines({ destination, report }: DemoResults, directory: string, keep: boolean): string[] {
  return [
    keep
      ? `Kept in ${directory}; kmm-sign registry --root ${directory}/registry serves it again.`
      : 'Nothing was left behind; --keep DIR keeps the registry, the key and the module.',
    `${destination}@${report.digest}`,
  ];
}
