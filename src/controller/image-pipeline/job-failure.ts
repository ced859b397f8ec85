import type { JobFacts, PodFacts } from '../observe/cluster/projections.ts';
import { pods } from '../observe/cluster/resources.ts';
import { formatKey, type ObjectKey } from '../runtime/api/object-key.ts';
import { pathOf } from '../runtime/api/resource.ts';
import type { EarlierState, PipelineServices } from './request.ts';
import { printable, redactTokens } from '../../shared/printable.ts';

/** A cache of pods with the index `owner`. */
interface WithPods {
  readonly caches: { readonly pods: Pick<PipelineServices['caches']['pods'], 'byIndex'> };
}

/** Returns the pod of a Job. */
export function podOf({ caches }: WithPods, job: ObjectKey): PodFacts | undefined {
  return caches.pods.byIndex('owner', formatKey(job)).find(({ deleting }) => !deleting);
}

/**
 * Describes why a Job failed: by the last output of its pod, else by the Job's condition. A failure that
 * `earlier` already describes is not examined again.
 */
export async function describeFailure(
  services: Pick<PipelineServices, 'client' | 'log'> & WithPods,
  job: JobFacts,
  earlier: EarlierState | undefined,
  signal: AbortSignal,
): Promise<string> {
  if (earlier?.phase === 'Failed' && earlier.job === job.key.name && earlier.message !== undefined) {
    return earlier.message;
  }
  const pod = podOf(services, job.key);
  if (job.reason === 'DeadlineExceeded') {
    const waited = pod?.waiting === undefined ? '' : `; its pod waited: ${describeWait(pod.waiting)}`;
    return `Job ${job.key.name} exceeded its deadline${waited}`;
  }
  if (pod === undefined) return `Job ${job.key.name} failed: ${job.message ?? 'its pod no longer exists'}`;
  const exit = pod.terminated;
  const lines = failureExcerpt((await readLog(services, pod, signal)) ?? exit?.message ?? '');
  const ending = exit === undefined ? (job.message ?? '') : describeExit(exit);
  return `Job ${job.key.name} failed (${ending})${lines === '' ? '' : `: ${lines}`}`;
}

function describeExit({ exitCode, reason }: NonNullable<PodFacts['terminated']>): string {
  return reason === '' || reason === 'Error' ? `exit code ${exitCode}` : `${reason}, exit code ${exitCode}`;
}

function describeWait({ reason, message }: { readonly reason: string; readonly message: string }): string {
  return message === '' ? reason : `${reason}: ${message}`;
}

/** Reads the end of a pod's log, if it still exists. */
async function readLog(
  { client, log }: Pick<PipelineServices, 'client' | 'log'>,
  { key }: PodFacts,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await client.requestText({
      method: 'GET',
      path: pathOf(pods, { ...key, subresource: 'log' }),
      query: { tailLines: 100, limitBytes: 64 * 1024 },
      // The API server has no media type of its own for the output of a container.
      accept: '*/*',
      signal,
    });
  } catch (error) {
    log.warn('log could not be read', { namespace: key.namespace, pod: key.name, error });
    return undefined;
  }
}

/** The most characters of a log in a status. */
const maxLength = 600;
const lineCount = 3;

/** Escape sequences for terminal colours. */
const colourCodes = /\p{Cc}\[[0-9;]*m/gu;
/** The beginning of a compiler's error message: `hello.c:12:9: error: …`. */
const compilerError = /^\S+:\d+(?::\d+)?: (?:fatal )?error: /;

/** Progress of Kaniko and Buildah, not output of the commands in a Dockerfile. */
const builderProgress = [
  /^(?:TRACE|DEBUG|INFO|WARN)\[\d+\]/,
  /^time="[^"]*" level=(?:trace|debug|info|warning) /,
  /^STEP \d+(?:\/\d+)?: /,
  /^(?:Trying to pull|Getting image source signatures|Copying (?:blob|config) |Writing manifest to image|Storing signatures)/,
];
/** What builders report about a command that failed: only that it did, not why. */
const exitReports = [
  /^subprocess exited with status \d+$/,
  /^error building image: .*\bexit status \d+$/,
  /^Error: (?:building at STEP .*)?\bexit status \d+$/,
  /^time="[^"]*" level=error msg="exit status \d+"$/,
];

/**
 * Extracts the reason for a failure from a log, as one line and without tokens: the first error of a
 * compiler, since everything that called the compiler reports errors after it, and the last lines, since the
 * last output of a program most often says why it failed. Of a builder's log, the output of the last step
 * counts, or what the builder says if the step has none.
 */
export function failureExcerpt(log: string): string {
  const lines = outputOfLastStep(log.split('\n').map(cleaned));
  const first = lines.slice(0, -lineCount).find((line) => compilerError.test(line));
  const last = tail(lines.slice(-lineCount).join(' | '), maxLength);
  if (first === undefined) return last;
  const start = redactTokens(first).slice(0, maxLength / 2);
  return `${start} | … | ${tail(lines.at(-1) ?? '', maxLength / 2)}`;
}

/** Returns a line of a log without colours and control characters. */
function cleaned(line: string): string {
  return printable(
    line
      .replaceAll(colourCodes, '')
      .replaceAll(/[\t\v\f\r]+/g, ' ')
      .trim(),
  );
}

/** Returns the lines of a log from which its reader learns why the last step failed. */
function outputOfLastStep(log: readonly string[]): string[] {
  const lines = log.filter((line) => line !== '');
  const ofStep = lines.slice(lines.findLastIndex((line) => matches(builderProgress, line)) + 1);
  const output = ofStep.filter((line) => !matches(exitReports, line));
  return [output, ofStep, lines].find(({ length }) => length > 0) ?? [];
}

function matches(patterns: readonly RegExp[], line: string): boolean {
  return patterns.some((pattern) => pattern.test(line));
}

/** Returns the end of a text, without tokens. */
function tail(text: string, length: number): string {
  const redacted = redactTokens(text);
  return redacted.length <= length ? redacted : `…${redacted.slice(redacted.length - length + 1)}`;
}
