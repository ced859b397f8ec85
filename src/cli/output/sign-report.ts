import type { SignedModuleReport, SignedPlatformReport, SignReport } from '../../signer/model/report.ts';
import { count, printable } from '../../shared/printable.ts';
import { formatBytes, layersNotReadText, shortDigest, table } from './text.ts';

/** Formats the output of `sign` for people. The last line is the result's reference, if there is one. */
export function signReportText(report: SignReport, repository: string): string {
  const lines = report.platforms.flatMap((platform) => platformLines(platform, report));
  for (const { digest, reason } of report.droppedChildren) {
    lines.push(`Dropped ${shortDigest(digest)}: ${printable(reason)}`);
  }
  for (const { digest, type, subject } of report.attachedToSource) {
    lines.push(`Stays with the source: ${printable(type)} ${shortDigest(digest)} of ${shortDigest(subject)}`);
  }
  lines.push(summary(report));
  if (report.digest !== null) lines.push(`${repository}@${report.digest}`);
  return lines.join('\n');
}

function platformLines(platform: SignedPlatformReport, report: SignReport): string[] {
  const lines: string[] = [];
  if (report.platforms.length > 1) lines.push(`Platform ${platform.platform ?? 'unknown'}`);
  if (platform.modules.length > 0)
    lines.push(table(platform.modules.map((module) => moduleRow(module, report))));
  lines.push(...removedLines(platform, report));
  if (platform.layersNotRead.length > 0) lines.push(layersNotReadText(platform.layersNotRead));
  for (const { from, to, size } of platform.layers) {
    const before = from === null ? 'new layer' : `layer ${shortDigest(from)}`;
    lines.push(`${before} → ${to === null ? 'to be written' : shortDigest(to)} (${formatBytes(size)})`);
  }
  return lines;
}

/**
 * Lists removed attributes of IMA and EVM. Where appraisal is enforced, the file is refused without new ones.
 */
function removedLines({ modules }: SignedPlatformReport, { status }: SignReport): string[] {
  return modules
    .filter(({ removedAttributes }) => removedAttributes.length > 0)
    .map(({ path, removedAttributes }) => {
      const what = `${removedAttributes.join(' and ')} of ${printable(path)}, made for the unsigned file`;
      return status === 'planned' ? `would remove ${what}` : `removed ${what}`;
    });
}

function moduleRow(module: SignedModuleReport, report: SignReport): string[] {
  const growth = module.sizeAfter - module.sizeBefore;
  const action = report.status === 'planned' ? plannedAction(module) : module.action;
  return [
    action,
    printable(module.path),
    `${formatBytes(module.sizeBefore)}${growth === 0 ? '' : ` ${growth > 0 ? '+' : ''}${growth} B`}`,
  ];
}

function plannedAction({ action }: SignedModuleReport): string {
  switch (action) {
    case 'signed':
      return 'would sign';
    case 'replaced':
      return 'would replace';
    case 'unchanged':
    case 'kept':
      return action;
  }
}

function summary(report: SignReport): string {
  const modules = report.platforms.flatMap((platform) => platform.modules);
  const written = modules.filter(({ action }) => action === 'signed' || action === 'replaced').length;
  const traffic = `${formatBytes(report.bytesDown)} down, ${formatBytes(report.bytesUp)} up`;
  switch (report.status) {
    case 'planned':
      return `Plan: ${written} of ${count(modules.length, 'module')} to sign with ${report.hash}; ${traffic} so far; nothing was written`;
    case 'unchanged':
      if (report.platforms.length === 0)
        return `Unchanged according to its manifests; no layer was read; ${traffic}`;
      return `Unchanged: ${count(modules.length, 'module')} already with this signature; ${traffic}`;
    case 'signed':
      if (written === 0)
        return `Nothing to sign in ${count(modules.length, 'module')}, published unchanged; ${traffic}`;
      return `Signed ${written} of ${count(modules.length, 'module')} with ${report.hash}; ${traffic}`;
  }
}
