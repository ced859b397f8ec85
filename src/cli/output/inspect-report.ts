import type { InspectReport, ModuleReport } from '../../signer/model/report.ts';
import { count, printable } from '../../shared/printable.ts';
import { formatBytes, layersNotReadText, shortDigest, table } from './text.ts';

/** Formats the output of `verify` for people: a line per module, and a summary. */
export function verifyReportText(report: InspectReport): string {
  const lines = platformLines(report, (module) => [
    module.state,
    printable(module.path),
    printable(module.problem ?? signatureText(module)),
  ]);
  lines.push(...differenceLines(report));
  const modules = report.platforms.flatMap((platform) => platform.modules);
  const trusted = modules.filter(({ state }) => state === 'trusted').length;
  lines.push(
    modules.length === 0
      ? 'No kernel module was found'
      : `${trusted} of ${count(modules.length, 'module')} trusted`,
  );
  return lines.join('\n');
}

/** Formats the output of `inspect` for people. */
export function inspectReportText(report: InspectReport): string {
  const heading = ['STATE', 'PATH', 'SIZE', 'LAYER', 'NAME', 'KERNEL', 'SIGNATURE'];
  const lines = platformLines(report, inspectRow, heading);
  lines.push(...differenceLines(report));
  const modules = report.platforms.flatMap((platform) => platform.modules);
  if (modules.length === 0) lines.push('No kernel module was found');
  return lines.join('\n');
}

function platformLines(
  report: InspectReport,
  row: (module: ModuleReport) => string[],
  heading?: string[],
): string[] {
  const lines: string[] = [];
  for (const { platform, digest, modules, shadowed, layersNotRead } of report.platforms) {
    const note = shadowed ? ', which runtimes skip in favour of an earlier one' : '';
    if (report.platforms.length > 1)
      lines.push(`Platform ${printable(platform ?? 'unknown')} (${shortDigest(digest)})${note}`);
    if (modules.length > 0)
      lines.push(table([...(heading === undefined ? [] : [heading]), ...modules.map(row)]));
    if (layersNotRead.length > 0) lines.push(layersNotReadText(layersNotRead));
  }
  return lines;
}

/**
 * Lists where runtimes see different files because an upper layer writes below a symbolic link of a lower
 * one.
 */
function differenceLines({ platforms }: InspectReport): string[] {
  return platforms.flatMap(({ modules }) =>
    modules.flatMap(({ path, layer, views }) =>
      views === null
        ? []
        : [
            `Runtimes see different files at ${printable(path)} of layer ${shortDigest(layer)}: ` +
              `with overlayfs ${namesText(views.overlayfs)}, extracted onto one directory ${namesText(views.extraction)}`,
          ],
    ),
  );
}

function namesText(names: readonly string[]): string {
  return names.length === 0 ? 'it is hidden' : `it is ${printable(names.join(', '))}`;
}

function inspectRow(module: ModuleReport): string[] {
  return [
    module.state === 'untrusted' ? 'signed' : module.state,
    printable(module.path),
    formatBytes(module.size),
    shortDigest(module.layer),
    printable(module.info?.name ?? '-'),
    printable(module.info?.vermagic?.split(' ')[0] ?? '-'),
    printable(signatureText(module)),
  ];
}

function signatureText({ signature, signatures }: ModuleReport): string {
  if (signature === null) return '-';
  const signer =
    signature.signer.form === 'issuer-and-serial'
      ? `${signature.signer.issuer} serial ${signature.signer.serialNumber}`
      : `key ${signature.signer.keyIdentifier}`;
  const stacked = signatures > 1 ? `, the last of ${signatures}` : '';
  return `${signature.keyAlgorithm} ${signature.hash} by ${signer.replaceAll('\n', ', ')}${stacked}`;
}
