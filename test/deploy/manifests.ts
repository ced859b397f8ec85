import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { requireProgram, type ProgramName } from '../support/programs.ts';

/** A Kubernetes object, as a manifest has it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly template?: { readonly spec: object } } | undefined;
}

export const deployDirectory = fileURLToPath(new URL('../../deploy/', import.meta.url));
export const chartDirectory = `${deployDirectory}chart/kmm-sign`;

/** Runs a program and gives its standard output. @throws Error with what it said, when it fails */
export async function run(program: ProgramName, args: readonly string[], input = ''): Promise<string> {
  return (await runWithWarnings(program, args, input)).stdout;
}

/** Runs a program; what it warns of is on standard error. @throws Error with what it said, when it fails */
export async function runWithWarnings(
  program: ProgramName,
  args: readonly string[],
  input = '',
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const running = promisify(execFile)(requireProgram(program), args, { maxBuffer: 2 ** 26 });
  running.child.stdin?.end(input);
  return running;
}

/** What kustomize makes of an overlay. */
export async function renderOverlay(name: string): Promise<Manifest[]> {
  return parseManifests(await run('kubectl', ['kustomize', `${deployDirectory}overlays/${name}`]));
}

/** What Helm makes of the chart, with its CustomResourceDefinitions. */
export async function renderChart(namespace: string, ...settings: string[]): Promise<Manifest[]> {
  const options = ['--namespace', namespace, '--include-crds', ...settings];
  return parseManifests(await run('helm', ['template', 'kmm-sign', chartDirectory, ...options]));
}

/** A name of an object, for comparing and for messages. */
export function nameOf({ apiVersion, kind, metadata }: Manifest): string {
  return [apiVersion, kind, metadata.namespace ?? '', metadata.name].join(' ');
}

/** The objects of a file. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((object) => object !== null);
}
