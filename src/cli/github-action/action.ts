import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseImageLocation } from '../../registry/open-repository.ts';
import { count, printable } from '../../shared/printable.ts';
import type { InspectReport, SignReport } from '../../signer/model/report.ts';
import { describeError, type ReportedError } from '../output/errors.ts';
import { shortDigest } from '../output/text.ts';
import { runCommandLine } from './command-line.ts';
import { type ActionCommand, readCommand } from './inputs.ts';
import { errorSummary, signSummary, verifySummary } from './summary.ts';
import { WorkflowCommands } from './workflow-commands.ts';

/** Annotations of one kind: a runner shows no more of a step. */
const maxAnnotations = 10;

/** What a command found out, for the outputs of the step. */
interface Outcome {
  /** In one line. */
  readonly headline: string;
  readonly summary: string;
  readonly image: string;
  readonly digest: string;
  readonly signedFiles: readonly string[];
  /** What is wrong, for annotations: a title and a message each. */
  readonly problems: readonly (readonly [title: string, message: string])[];
  readonly warnings: readonly string[];
}

/** Runs the action with a runner's environment. Returns the exit code of the program. Never throws. */
export async function runAction(environment: NodeJS.ProcessEnv): Promise<number> {
  const workflow = new WorkflowCommands(environment);
  try {
    const command = readCommand(environment);
    for (const secret of command.secrets) workflow.mask(secret);
    return await perform(command, environment, workflow);
  } catch (error) {
    return fail(describeError(error), workflow);
  }
}

async function perform(
  { mode, args, environment }: ActionCommand,
  { RUNNER_TEMP }: NodeJS.ProcessEnv,
  workflow: WorkflowCommands,
): Promise<number> {
  const resumeCommands = workflow.stopCommands();
  const { exitCode, stdout, error } = await runCommandLine(args, environment, (line) =>
    workflow.log(printable(line)),
  );
  resumeCommands();
  if (error !== undefined || stdout === '') return fail({ ...unknownFailure, ...error, exitCode }, workflow);

  const report = join(await mkdtemp(join(RUNNER_TEMP || tmpdir(), 'kmm-sign-')), 'report.json');
  await writeFile(report, stdout);
  const outcome =
    mode === 'sign'
      ? signOutcome(JSON.parse(stdout) as SignReport)
      : verifyOutcome(JSON.parse(stdout) as InspectReport);
  await workflow.setOutput('image', outcome.image);
  await workflow.setOutput('digest', outcome.digest);
  await workflow.setOutput('signed-files', JSON.stringify(outcome.signedFiles));
  await workflow.setOutput('report', report);
  await workflow.setOutput('exit-code', String(exitCode));
  await workflow.addSummary(outcome.summary);
  for (const [title, message] of outcome.problems.slice(0, maxAnnotations))
    workflow.annotate('error', printable(title), printable(message));
  for (const warning of outcome.warnings.slice(0, maxAnnotations))
    workflow.annotate('warning', 'kmm-sign', printable(warning));
  workflow.annotate(exitCode === 0 ? 'notice' : 'error', 'kmm-sign', printable(outcome.headline));
  return exitCode;
}

const unknownFailure = { code: 'UNEXPECTED', message: 'The command ended without a report' } as const;

async function fail(
  error: Omit<ReportedError, 'exitCode'> & { readonly exitCode: number },
  workflow: WorkflowCommands,
): Promise<number> {
  const { code, message, hint, exitCode } = error;
  const lines = [message, ...(hint === undefined ? [] : [hint])].map(printable);
  workflow.annotate('error', `kmm-sign: ${code}, exit code ${exitCode}`, lines.join('\n'));
  await workflow.setOutput('exit-code', String(exitCode));
  await workflow.addSummary(errorSummary(message, hint));
  return exitCode;
}

function signOutcome(report: SignReport): Outcome {
  const modules = report.platforms.flatMap((platform) => platform.modules);
  const signed = modules.filter(({ action }) => action !== 'kept');
  const image = report.digest === null ? '' : `${repositoryOf(report.destination)}@${report.digest}`;
  const headline = signHeadline(report, signed.length, modules.length, image);
  return {
    headline,
    summary: signSummary(report, headline),
    image,
    digest: report.digest ?? '',
    signedFiles: signed.map(({ path }) => path),
    problems: [],
    warnings: report.warnings,
  };
}

function signHeadline(report: SignReport, signed: number, total: number, image: string): string {
  const what = `${signed} of ${count(total, 'module')} of ${report.source}@${shortDigest(report.sourceDigest)}`;
  const how = `with ${report.hash} and certificate ${report.certificateFingerprint}`;
  switch (report.status) {
    case 'planned':
      return `Would sign ${what} ${how}`;
    case 'unchanged':
      return total === 0 ? `Already signed ${how}: ${image}` : `Already signed ${what} ${how}: ${image}`;
    case 'signed':
      return `Signed ${what} ${how}: ${image}`;
  }
}

function verifyOutcome(report: InspectReport): Outcome {
  const modules = report.platforms.flatMap((platform) => platform.modules);
  const trusted = modules.filter(({ state }) => state === 'trusted');
  const image = `${repositoryOf(report.image)}@${report.digest}`;
  const headline = `${trusted.length} of ${count(modules.length, 'module')} of ${image} trusted`;
  return {
    headline,
    summary: verifySummary(report, headline),
    image,
    digest: report.digest,
    signedFiles: trusted.map(({ path }) => path),
    problems: modules
      .filter(({ state }) => state !== 'trusted')
      .map(({ state, path, problem }) => [`kmm-sign: ${state}`, `${path}: ${problem ?? state}`] as const),
    warnings: report.warnings,
  };
}

/** Returns the name of an image without its tag. */
function repositoryOf(image: string): string {
  const location = parseImageLocation(image);
  if (location.kind === 'layout') return `oci:${location.directory}`;
  return `${location.reference.registry}/${location.reference.repository}`;
}
