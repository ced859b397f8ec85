import { expect } from 'vitest';
import { configMaps } from '../../../../src/controller/observe/cluster/resources.ts';
import { createNode, imageOf, setNodeInfo } from '../cluster-objects.ts';
import type { ModuleWorld } from '../module-world.ts';
import type { JobRunner } from './job-runner.ts';
import type { Observer } from './observer.ts';

const [firstKernel, secondKernel] = ['6.1.0-13-amd64', '6.1.0-18-amd64'];

/** Where scenarios run. */
export interface Environment {
  readonly world: ModuleWorld;
  readonly observer: Observer;
  readonly runner: JobRunner;
}

/** What is left after a scenario; equal for equal outcomes. */
export interface Outcome {
  /** The work of Jobs, in order. */
  readonly work: readonly string[];
  readonly daemonSets: readonly unknown[];
  readonly status: unknown;
}

/** The work of a scenario in which nothing is done twice and nothing is left out. */
export const workOfScenario = [firstKernel, firstKernel, secondKernel].flatMap((kernel) => [
  `build for ${kernel}`,
  `sign for ${kernel}`,
]);

/** Called before and after the change with which a part begins. */
export type Disturbance = (
  when: 'before' | 'after',
  part: 'module' | 'dockerfile' | 'kernel',
) => Promise<void>;

/**
 * Has a Module built, signed and rolled out; changes its Dockerfile; then the kernel of its node. Needs an operator.
 */
export async function runScenario(
  { world, observer, runner }: Environment,
  namespace: string,
  disturbance: Disturbance = async () => {},
): Promise<Outcome> {
  const { client } = world;
  const settled = async (kernel: string, jobs: number): Promise<void> => {
    await observer.until(() => {
      expect(runner.finished(namespace).length).toBeGreaterThanOrEqual(jobs);
      const latest = runner.finished(namespace).at(-1)?.digest;
      expect(latest).toBeDefined();
      expect(observer.module(namespace)?.status?.kernels).toMatchObject([
        { kernelVersion: kernel, phase: 'Ready', reason: 'Signed', digest: latest },
      ]);
      const images = observer.daemonSets(namespace).map((one) => imageOf(one.spec?.template.spec));
      expect(images.length).toBe(2);
      expect(new Set(images)).toEqual(new Set([`${world.image(namespace)}@${latest}`, 'plugin:1']));
      expect(observer.jobs(namespace)).toEqual([]);
    });
  };

  await world.namespace(namespace);
  await createNode(client, { name: namespace, kernel: firstKernel, labels: { for: namespace } });
  await disturbance('before', 'module');
  await world.apply(namespace, specOf(world, namespace));
  await disturbance('after', 'module');
  await settled(firstKernel, 2);
  const key = { namespace, name: 'build' };
  await disturbance('before', 'dockerfile');
  await client.patch(configMaps, key, { data: { dockerfile: 'FROM scratch\nRUN make\n' } });
  await disturbance('after', 'dockerfile');
  await settled(firstKernel, 4);
  await disturbance('before', 'kernel');
  await setNodeInfo(client, { name: namespace, kernel: secondKernel });
  await disturbance('after', 'kernel');
  await settled(secondKernel, 6);
  return outcomeOf({ world, observer, runner }, namespace);
}

function specOf(world: ModuleWorld, namespace: string): object {
  return {
    moduleLoader: {
      container: {
        modprobe: { moduleName: 'hello', dirName: '/opt' },
        containerImage: world.image(`${namespace}:\${KERNEL_FULL_VERSION}`),
        registryTLS: { insecure: true },
        kernelMappings: [{ regexp: '^.+$' }],
        build: { dockerfileConfigMap: { name: 'build' } },
        sign: { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } },
      },
    },
    devicePlugin: { container: { image: 'plugin:1' } },
    selector: { for: namespace },
  };
}

function outcomeOf({ observer, runner }: Environment, namespace: string): Outcome {
  const jobs = runner.finished(namespace);
  const names = new Map<string, string>([[namespace, 'NAMESPACE']]);
  for (const [index, { name, digest }] of jobs.entries()) {
    names.set(name, `JOB-${index}`);
    if (digest !== undefined) names.set(digest, `DIGEST-${index}`);
  }
  names.set(observer.module(namespace)?.metadata.uid ?? '', 'UID');
  const comparable = (value: unknown): unknown => {
    // An operator that starts when the work is done does not know which Job was the last.
    let text = JSON.stringify(value, (key, inner: unknown) =>
      key.endsWith('Time') || key === 'job' ? undefined : inner,
    );
    const longestFirst = [...names].toSorted(([a], [b]) => b.length - a.length);
    for (const [name, replacement] of longestFirst) text = text.replaceAll(name, replacement);
    return JSON.parse(text) as unknown;
  };
  return {
    work: jobs.map(({ work }) => work),
    daemonSets: observer
      .daemonSets(namespace)
      .map(({ metadata: { labels, ownerReferences }, spec }) => comparable({ labels, ownerReferences, spec }))
      .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    status: comparable(observer.module(namespace)?.status),
  };
}
