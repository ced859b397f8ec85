import type { SignReport } from '../../signer/model/report.ts';
import { formatBytes, shortDigest } from '../output/text.ts';
import type { LayerComparison, ModuleComparison } from './compare.ts';

/** The results of the demonstration. */
export interface Story {
  readonly address: string;
  readonly directory: string;
  readonly kept: boolean;
  readonly source: string;
  readonly destination: string;
  readonly fingerprint: string;
  readonly modulePath: string;
  readonly layers: readonly LayerComparison[];
  readonly module: ModuleComparison;
  readonly report: SignReport;
  readonly seconds: number;
  readonly again: string;
  /** Total size of the layers of the vendor's image, in bytes. */
  readonly imageSize: number;
}

/** Formats the demonstration to fit on one screen. */
export function storyText(story: Story): string {
  const { module, report, layers } = story;
  const growth = module.sizeAfter - module.sizeBefore;
  return [
    `1 registry  ${story.address}, the embedded one`,
    `2 key       RSA 4096, certificate ${story.fingerprint.slice(0, 16)}…`,
    `3 vendor    pushed ${story.source}: ${layers.length} layers, ${formatBytes(story.imageSize)}`,
    `            ${story.modulePath}: unsigned`,
    '4 sign      kmm-sign sign SOURCE DESTINATION --key signing_key.key --cert signing_key.pem \\',
    `              --file ${story.modulePath}`,
    ...layers.map(layerLine),
    `            module   ${module.sizeBefore} bytes unchanged + ${growth} bytes of signature (${report.hash})`,
    `            moved    ${formatBytes(report.bytesDown)} down, ${formatBytes(report.bytesUp)} up, in ${story.seconds.toFixed(2)} s`,
    `5 verify    ${story.modulePath}: trusted`,
    `6 again     ${story.again}: the same image, nothing written`,
    '',
    story.kept
      ? `Kept in ${story.directory}; kmm-sign registry --root ${story.directory}/registry serves it again.`
      : 'Nothing was left behind; --keep DIR keeps the registry, the key and the module.',
    `${story.destination}@${report.digest}`,
  ].join('\n');
}

function layerLine({ from, to, same, size }: LayerComparison, at: number): string {
  const change = same ? `${shortDigest(from)} same` : `${shortDigest(from)} → ${shortDigest(to)}`;
  return `            layer ${at + 1}  ${change} (${formatBytes(size)})`;
}
