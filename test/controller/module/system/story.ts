import { expect } from 'vitest';
import { configMaps } from '../../../../src/controller/observe/cluster/resources.ts';
import { createNode, setNodeInfo } from '../cluster-objects.ts';
import type { ModuleWorld } from '../module-world.ts';
import type { JobPlayer } from './job-player.ts';
import type { Witness } from './witness.ts';

const [firstKernel, secondKernel] = ['6.1.0-13-amd64', '6.1.0-18-amd64'];

/** Where stories play. */
export interface Stage {
  readonly world: ModuleWorld;
  readonly witness: Witness;
  readonly player: JobPlayer;
}

/** What is left when a story has ended; equal for stories that ended alike. */
export interface Ending {
  /** What Jobs did, in order. */
  readonly work: readonly string[];
  readonly daemonSets: readonly unknown[];
  readonly status: unknown;
}

/** The work of a story in which nothing is done twice, and nothing left out. */
export const workOfStory = [firstKernel, firstKernel, secondKernel].flatMap((kernel) => [
  `build for ${kernel}`,
  `sign for ${kernel}`,
]);

/** What comes in between, before and after the change with which a part begins. */
export type Interlude = (when: 'before' | 'after', part: 'module' | 'dockerfile' | 'kernel') => Promise<void>;

/**
 * A Module is built, signed and rolled out; its Dockerfile changes; then the kernel of its node. Needs somebody
 * who sees to it.
 */
export async function playStory(
  { world, witness, player }: Stage,
  namespace: string,
  interlude: Interlude = async () => {},
): Promise<Ending> {
  const { client } = world;
  const settled = async (kernel: string, jobs: number): Promise<void> => {
    await witness.until(() => {
      expect(player.played(namespace).length).toBeGreaterThanOrEqual(jobs);
      const latest = player.played(namespace).at(-1)?.digest;
      expect(latest).toBeDefined();
      expect(witness.module(namespace)?.status?.kernels).toMatchObject([
        { kernelVersion: kernel, phase: 'Ready', reason: 'Signed', digest: latest },
      ]);
      const images = witness
        .daemonSets(namespace)
        .map((one) => one.spec?.template.spec?.containers[0]?.image);
      expect(images.length).toBe(2);
      expect(new Set(images)).toEqual(new Set([`${world.image(namespace)}@${latest}`, 'plugin:1']));
      expect(witness.jobs(namespace)).toEqual([]);
    });
  };

  await world.namespace(namespace);
  await createNode(client, { name: namespace, kernel: firstKernel, labels: { for: namespace } });
  await interlude('before', 'module');
  await world.apply(namespace, specOf(world, namespace));
  await interlude('after', 'module');
  await settled(firstKernel, 2);
  const key = { namespace, name: 'build' };
  await interlude('before', 'dockerfile');
  await client.patch(configMaps, key, { data: { dockerfile: 'FROM scratch\nRUN make\n' } });
  await interlude('after', 'dockerfile');
  await settled(firstKernel, 4);
  await interlude('before', 'kernel');
  await setNodeInfo(client, { name: namespace, kernel: secondKernel });
  await interlude('after', 'kernel');
  await settled(secondKernel, 6);
  return endingOf({ world, witness, player }, namespace);
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

function endingOf({ witness, player }: Stage, namespace: string): Ending {
  const jobs = player.played(namespace);
  const names = new Map<string, string>([[namespace, 'NAMESPACE']]);
  for (const [index, { name, digest }] of jobs.entries()) {
    names.set(name, `JOB-${index}`);
    if (digest !== undefined) names.set(digest, `DIGEST-${index}`);
  }
  names.set(witness.module(namespace)?.metadata.uid ?? '', 'UID');
  const comparable = (value: unknown): unknown => {
    // Which Job worked last is not known to an operator that comes when its work is done.
    let text = JSON.stringify(value, (key, inner: unknown) =>
      key.endsWith('Time') || key === 'job' ? undefined : inner,
    );
    const longestFirst = [...names].toSorted(([a], [b]) => b.length - a.length);
    for (const [name, replacement] of longestFirst) text = text.replaceAll(name, replacement);
    return JSON.parse(text) as unknown;
  };
  return {
    work: jobs.map(({ work }) => work),
    daemonSets: witness
      .daemonSets(namespace)
      .map(({ metadata: { labels, ownerReferences }, spec }) => comparable({ labels, ownerReferences, spec }))
      .toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    status: comparable(witness.module(namespace)?.status),
  };
}
