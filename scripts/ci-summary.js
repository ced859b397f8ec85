// Summarizes the results of `.ci/run` and prints the closing line:
//
//     node scripts/ci-summary.js FOLDER
//
// FOLDER contains vitest's reports (*.json), an empty file NAME.passed or NAME.failed for each other step,
// and a file NAME.seconds with the duration of each step. Nothing may fail or be skipped. Tests that passed
// only on a retry are listed, and count as passed.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { argv } from 'node:process';

const folder = argv[2] ?? '.';
const total = { passed: 0, failed: 0, skipped: 0, flaky: 0 };
const durations = [];

function addReport(file) {
  const { testResults = [] } = JSON.parse(readFileSync(file, 'utf8'));
  for (const { name, status, message, assertionResults = [] } of testResults) {
    const failed = assertionResults.filter((result) => result.status === 'failed');
    for (const { fullName } of failed) console.log(`failed: ${fullName}`);
    const flaky = assertionResults.filter(
      ({ status: outcome, failureMessages }) => outcome === 'passed' && failureMessages?.length > 0,
    );
    for (const { fullName, failureMessages } of flaky)
      console.log(`flaky: ${fullName}: ${failureMessages[0].split('\n')[0]}`);
    total.flaky += flaky.length;
    const skipped = assertionResults.filter((result) => !['passed', 'failed'].includes(result.status));
    for (const { fullName } of skipped) console.log(`skipped: ${fullName}`);
    total.passed += assertionResults.filter((result) => result.status === 'passed').length;
    total.skipped += skipped.length;
    // A file that cannot even be loaded has no results and counts as one failure.
    const broken = status === 'failed' && failed.length === 0;
    if (broken) console.log(`failed: ${name}: ${message}`);
    total.failed += failed.length + (broken ? 1 : 0);
  }
}

for (const name of readdirSync(folder).toSorted()) {
  if (name.endsWith('.seconds')) {
    const seconds = Number(readFileSync(join(folder, name), 'utf8'));
    durations.push({ step: name.slice(0, -'.seconds'.length), seconds });
  }
  if (name.endsWith('.json')) addReport(join(folder, name));
  if (name.endsWith('.passed')) total.passed += 1;
  if (name.endsWith('.failed')) {
    console.log(`failed: step ${name.slice(0, -'.failed'.length)}`);
    total.failed += 1;
  }
}
if (durations.length > 0) {
  const list = durations.toSorted((one, other) => other.seconds - one.seconds);
  console.log(`durations: ${list.map(({ step, seconds }) => `${step} ${seconds} s`).join(', ')}`);
}
if (total.flaky > 0) console.log(`${total.flaky} passed only at another try, see "flaky" above`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.passed > 0 && total.failed === 0 && total.skipped === 0 ? 0 : 1;
