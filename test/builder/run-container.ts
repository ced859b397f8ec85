import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { V1Job } from '@kubernetes/client-node';

const execute = promisify(execFile);

/** How a container is run as a process of this machine. */
export interface ContainerRun {
  readonly job: V1Job;
  /** Paths of the container and where they are here. */
  readonly paths: Readonly<Record<string, string>>;
  /** More environment variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** What to start in place of the first word of its command. */
  readonly program?: readonly string[];
}

/** Runs the one container of a Job: its command, arguments and environment, with other paths. */
export async function runContainer({ job, paths, env = {}, program }: ContainerRun): Promise<void> {
  const container = job.spec?.template.spec?.containers[0];
  const local = (text: string): string =>
    Object.entries(paths).reduce((changed, [from, to]) => changed.replaceAll(from, to), text);
  const [own = '', ...args] = [...(container?.command ?? []), ...(container?.args ?? [])].map(local);
  const [file = own, ...first] = program ?? [];
  const environment = (container?.env ?? []).map(({ name, value }) => [name, local(value ?? '')] as const);
  await execute(file, [...first, ...args], {
    env: { PATH: process.env['PATH'], ...Object.fromEntries(environment), ...env },
  });
}
