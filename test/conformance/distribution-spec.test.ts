import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeWith, findProgram } from '../support/programs.ts';
import { startEmbedded } from '../support/registries.ts';

// The distribution specification's own conformance suite, every workflow, against the embedded registry.

interface SuiteCase {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly detail: string;
}

const suite = findProgram('conformance');
const cases = suite === undefined ? [] : await runSuite(suite);

/** Of each pair of alternatives the suite skips one: the answer, or a setting, decides. These are not ours. */
const alternatives = [
  /Get tag name from environment/,
  /Cross-mounting of nonexistent blob should yield session id/,
  /Populate registry with test .* \(no push\)/,
  /Cross-mounting without from, and automatic content discovery disabled should return a 202/,
];

describeWith(['conformance'], 'the embedded registry passes the conformance suite', () => {
  const counted = cases.filter(
    ({ name, outcome }) => outcome !== 'skipped' || !alternatives.some((pattern) => pattern.test(name)),
  );

  test('which runs all its workflows', () => {
    const workflows = ['Pull', 'Push', 'Content Discovery', 'Content Management'];
    expect(
      workflows.filter((workflow) => !counted.some(({ name }) => name.startsWith(`${workflow} `))),
    ).toEqual([]);
    expect(counted.length).toBeGreaterThanOrEqual(64);
  });

  test.each(counted)('$name', ({ outcome, detail }) => {
    expect({ outcome, detail }).toEqual({ outcome: 'passed', detail: '' });
  });
});

async function runSuite(program: string): Promise<SuiteCase[]> {
  await using registry = await startEmbedded();
  const folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-conformance-'));
  try {
    const settings = {
      OCI_ROOT_URL: registry.url,
      OCI_NAMESPACE: 'conformance/first',
      OCI_CROSSMOUNT_NAMESPACE: 'conformance/second',
      OCI_TEST_PULL: '1',
      OCI_TEST_PUSH: '1',
      OCI_TEST_CONTENT_DISCOVERY: '1',
      OCI_TEST_CONTENT_MANAGEMENT: '1',
      OCI_AUTOMATIC_CROSSMOUNT: '1',
      OCI_HIDE_SKIPPED_WORKFLOWS: '0',
      OCI_REPORT_DIR: folder,
    };
    // Its exit code says whether all passed; the report says which.
    await new Promise<void>((resolve) => {
      execFile(program, { cwd: folder, env: { ...process.env, ...settings } }, () => resolve());
    });
    return parseReport(await readFile(join(folder, 'junit.xml'), 'utf8'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function parseReport(xml: string): SuiteCase[] {
  const pattern = /<testcase name="(?<name>[^"]*)"[^>]*?(?:\/>|>(?<body>.*?)<\/testcase>)/gs;
  return [...xml.matchAll(pattern)].map(({ groups = {} }) => {
    const { body = '' } = groups;
    const name = (groups['name'] ?? '').replace('OCI Distribution Conformance Tests ', '');
    const failure = /<failure[^>]*>(?<text>.*?)<\/failure>/s.exec(body)?.groups?.['text'];
    if (failure !== undefined) return { name, outcome: 'failed', detail: failure.trim() };
    return { name, outcome: body.includes('<skipped') ? 'skipped' : 'passed', detail: '' };
  });
}
