import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCaches } from '../../../src/controller/observe/cluster/caches.ts';
import { daemonSets, nodes, pods } from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { isApiError } from '../../../src/controller/runtime/api/errors.ts';
import { createNodeTrust, type TrustServices } from '../../../src/controller/node-trust/controller.ts';
import { trustName, trustPodLabels } from '../../../src/controller/node-trust/daemon-set.ts';
import { silentLogger } from '../../../src/shared/logger.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { describeWith } from '../../support/programs.ts';
import { waitFor } from '../../support/wait-for.ts';

const namespace = 'default';
const secureBoot = 'trust.kmm.sigs.x-k8s.io/secure-boot';
const options = {
  namespace,
  image: 'registry.example/loader',
  serviceAccountName: 'default',
  seLinuxType: 'spc_t',
  publisher: 'labels',
} as const;
const ended = (message: string) => ({ terminated: { exitCode: 0, message } });
const patience = { timeout: 30_000, interval: 50 };

describeWith(apiServerPrograms, 'what nodes trust', () => {
  let api: ApiServer;
  let client: ApiClient;
  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    await client.create(nodes, { metadata: { name: 'worker-0', labels: { 'kubernetes.io/arch': 'amd64' } } });
  });
  afterAll(() => api?.[Symbol.asyncDispose]());

  /** Runs the controller while something is done. */
  async function running(trust: TrustServices['options'], use: () => Promise<void>): Promise<void> {
    const stop = new AbortController();
    const { signal } = stop;
    const caches = createCaches(client, silentLogger);
    const services = { client, caches, namespace, options: trust, log: silentLogger };
    const { controller, cache } = createNodeTrust(services);
    const all = [caches.nodes, caches.daemonSets, cache].map((one) => one.run(signal));
    const work = controller.run({ signal });
    try {
      await use();
    } finally {
      stop.abort();
      await Promise.all([...all, work]);
    }
  }

  const labels = async (): Promise<Readonly<Record<string, string>>> =>
    (await client.get(nodes, { name: 'worker-0' })).metadata.labels ?? {};

  /** Writes the status of a pod as the kubelet does when its init container, or its container, has ended. */
  async function report(name: string, { first, last }: { first: string; last?: string }): Promise<void> {
    const container = { image: '', imageID: '', ready: true, restartCount: 0 };
    const status = {
      initContainerStatuses: [{ ...container, name: 'report', state: ended(first) }],
      containerStatuses: [
        { ...container, name: 'watch', ...(last === undefined ? {} : { lastState: ended(last) }) },
      ],
    };
    await client.patch(pods, { namespace, name }, { status }, { subresource: 'status' });
  }

  async function createPod(name: string): Promise<void> {
    const spec = { nodeName: 'worker-0', containers: [{ name: 'watch', image: options.image }] };
    await client.create(pods, { metadata: { name, namespace, labels: { ...trustPodLabels } }, spec });
  }

  it('is looked at by pods without privileges and without a token', async () => {
    await running(options, async () => {
      const { spec } = await waitFor(() => client.get(daemonSets, { namespace, name: trustName }), patience);
      expect(spec?.template.spec).toMatchObject({
        automountServiceAccountToken: false,
        containers: [
          { securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } },
        ],
      });
    });
  });

  it('becomes labels of the node, which follow a new report and stay while a pod is replaced', async () => {
    await running(options, async () => {
      await createPod('one');
      await report('one', { first: 'secure-boot=true\nkey-00ff=true\n' });
      await waitFor(async () => expect(await labels()).toMatchObject({ [secureBoot]: 'true' }), patience);
      expect(await labels()).toMatchObject({ 'key.trust.kmm.sigs.x-k8s.io/00ff': 'true' });
      await report('one', { first: 'secure-boot=true\nkey-00ff=true\n', last: 'secure-boot=false\n' });
      await waitFor(async () => expect(await labels()).toMatchObject({ [secureBoot]: 'false' }), patience);
      expect(await labels()).not.toHaveProperty('key.trust.kmm.sigs.x-k8s.io/00ff');
      await client.delete(pods, { namespace, name: 'one' }, { propagationPolicy: 'Background' });
      await createPod('two');
      expect(await labels()).toMatchObject({ [secureBoot]: 'false', 'kubernetes.io/arch': 'amd64' });
      await report('two', { first: 'secure-boot=true\n' });
      await waitFor(async () => expect(await labels()).toMatchObject({ [secureBoot]: 'true' }), patience);
    });
  });

  it('has its labels restored', async () => {
    await running(options, async () => {
      await client.patch(nodes, { name: 'worker-0' }, { metadata: { labels: { [secureBoot]: 'false' } } });
      await waitFor(async () => expect(await labels()).toMatchObject({ [secureBoot]: 'true' }), patience);
    });
  });

  it('is withdrawn when nobody is to look, but for what others have written', async () => {
    const theirs = { metadata: { name: 'worker-0', labels: { 'key.trust.kmm.sigs.x-k8s.io/11': 'true' } } };
    await client.apply(nodes, theirs, { fieldManager: 'nfd-master', force: true });
    await running(undefined, async () => {
      await waitFor(async () => expect(await labels()).not.toHaveProperty(secureBoot), patience);
      await waitFor(async () => {
        const found = await client
          .get(daemonSets, { namespace, name: trustName })
          .catch((error: unknown) => error);
        expect(isApiError(found, 'NOT_FOUND')).toBe(true);
      }, patience);
    });
    expect(await labels()).toMatchObject({ 'key.trust.kmm.sigs.x-k8s.io/11': 'true' });
  });
});
