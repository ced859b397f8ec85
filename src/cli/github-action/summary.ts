import type { InspectReport, SignReport } from '../../signer/model/report.ts';
import { count, printable } from '../../shared/printable.ts';

/** Rows of the table in a summary, which a runner refuses above 1 MiB. */
const maxRows = 1000;

/** Describes a signed image in Markdown. `headline` says in one line what was signed. */
export function signSummary(report: SignReport, headline: string): string {
  const rows = report.platforms.flatMap(({ platform, modules }) =>
    modules.map(({ path, action, info }) => [
      action,
      path,
      platform ?? '',
      info.vermagic?.split(' ')[0] ?? '',
    ]),
  );
  return summary(headline, ['Action', 'Module', 'Platform', 'Kernel'], rows, report.warnings);
}

/** Describes a verified image in Markdown. */
export function verifySummary(report: InspectReport, headline: string): string {
  const rows = report.platforms.flatMap(({ platform, modules }) =>
    modules.map(({ path, state, info, problem }) => [
      state,
      path,
      platform ?? '',
      info?.vermagic?.split(' ')[0] ?? '',
      problem ?? '',
    ]),
  );
  return summary(headline, ['State', 'Module', 'Platform', 'Kernel', 'Problem'], rows, report.warnings);
}

/** Describes a failure in Markdown. */
export function errorSummary(message: string, hint: string | undefined): string {
  return `### kmm-sign\n\n${markdownText(message)}\n${hint === undefined ? '' : `\n${markdownText(hint)}\n`}`;
}

function summary(
  headline: string,
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  warnings: readonly string[],
): string {
  const row = (cells: readonly string[]): string => `| ${cells.map(markdownText).join(' | ')} |`;
  const rest = rows.length - maxRows;
  return [
    '### kmm-sign',
    '',
    markdownText(headline),
    '',
    ...(rows.length === 0 ? [] : [row(heading), row(heading.map(() => '---'))]),
    ...rows.slice(0, maxRows).map(row),
    ...(rest > 0 ? ['', `${count(rest, 'module')} more in the report`] : []),
    ...warnings.map((warning) => `\nWarning: ${markdownText(warning)}`),
    '',
  ].join('\n');
}

/** Escapes all that Markdown or HTML could give a meaning to: names of files in an image are its author's. */
function markdownText(text: string): string {
  return printable(text).replaceAll(
    /[^\p{L}\p{N} ./,;-]/gu,
    (character) => `&#${character.codePointAt(0) ?? 0};`,
  );
}
