import { printable } from '../../shared/printable.ts';
import type { InspectReport, ModuleReport } from '../../signer/model/report.ts';

/** What XML 1.0 has no way to write, apart from what `printable` escapes. */
const notInXml = /[\ufffe\uffff]/g;

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/**
 * Formats what `verify` found as a JUnit report, which CI systems show: each module is a test case, which fails
 * unless its signature is trusted.
 */
export function junitReport({ image, digest, platforms }: InspectReport): string {
  const modules = platforms.flatMap((platform) => platform.modules);
  const failures = modules.filter(({ state }) => state !== 'trusted').length;
  const counts = `tests="${modules.length}" failures="${failures}" errors="0" skipped="0"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="kmm-sign" ${counts}>`,
    `  <testsuite name=${attribute(`${image} ${digest}`)} ${counts}>`,
    ...platforms.flatMap((platform) =>
      platform.modules.map((module) => testCase(module, platform.platform ?? 'unknown platform')),
    ),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function testCase({ path, state, problem }: ModuleReport, platform: string): string {
  const start = `    <testcase classname=${attribute(platform)} name=${attribute(path)}`;
  if (state === 'trusted') return `${start}/>`;
  const failure = `<failure type=${attribute(state)} message=${attribute(problem ?? state)}/>`;
  return `${start}>\n      ${failure}\n    </testcase>`;
}

/** Quotes the value of an attribute. Names of files and problems are an image's author's. */
function attribute(text: string): string {
  const escaped = printable(text)
    .toWellFormed()
    .replaceAll(notInXml, '\ufffd')
    .replaceAll(/[&<>"]/g, (character) => entities[character] ?? character);
  return `"${escaped}"`;
}
