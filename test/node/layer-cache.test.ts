import { mkdir, readdir, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseModule } from '../../src/api/module/module.ts';
import { jobs, modules, type Job } from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import { RegistryClient } from '../../src/registry/image/client.ts';
import type { ImageManifest } from '../../src/registry/model/manifest.ts';
import { startFaultProxy, type FaultProxy } from '../support/fault-proxy.ts';
import { storeImage, withParents } from '../support/images.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry } from '../support/registries.ts';
import { helloModule } from '../support/signing.ts';
import {
  installedOperatorPrograms,
  installOverlay,
  operatorNamespace,
  startPreparedCluster,
  untilHolds,
  type PreparedCluster,
} from './installed-operator.ts';
import { prebuiltManifest } from './module-manifest.ts';

const kernel = release();
const claim = 'layers';
/** Neither the user's of the image nor a group of it. */
const fsGroup = 2000;
const limit = 500_000;

describeWith(installedOperatorPrograms, 'a volume for what layers contain', () => {
  const resources = new AsyncDisposableStack();
  let cluster: PreparedCluster;
  let proxy: FaultProxy;
  let images: RegistryClient;
  /** The registry behind the proxy, as in references. */
  let registry: string;
  let volume: string;

  beforeAll(async () => {
    cluster = resources.use(await startPreparedCluster(['native'], { withBuilders: false }));
    const { host } = resources.use(await startDockerRegistry());
    proxy = resources.use(await startFaultProxy({ target: `http://${host}` }));
    const port = Number(proxy.host.split(':')[1]);
    await cluster.network.publish(port);
    registry = `${cluster.network.gateway}:${port}`;
    images = resources.use(new RegistryClient({ plainHttp: true }));
    volume = join(cluster.directory, claim);
    await mkdir(volume, { mode: 0o755 });
    await cluster.startNode('native');
    const layerCache = { persistentVolumeClaim: claim, fsGroup };
    await installOverlay(cluster, kernel, 'buildah', { sign: { layerCache } });
  }, 900_000);
  afterAll(() => resources.disposeAsync(), 180_000);

  /** Has the operator sign an image on the same base as all others of this test. Gives its Job and its source. */
  async function sign(name: string): Promise<{ readonly job: Job; readonly source: ImageManifest }> {
    const layers = [
      { entries: withParents(`opt/lib/modules/${kernel}/hello.ko`, await helloModule) },
      { entries: withParents('usr/lib/base', Buffer.alloc(300_000, 'base')) },
      { entries: [...withParents('usr/share/doc/driver', 'read me'), { name: 'usr/lib/.wh.old' }] },
      { entries: [{ name: 'version', content: Buffer.from(name) }] },
    ];
    const repository = images.repository({ registry: proxy.host, repository: `vendor/${name}` });
    await storeImage(repository, { layers }, kernel);
    const source = await repository.getManifest({ tag: kernel });
    if (source.kind !== 'image') throw new Error('this is not an image');
    proxy.reset();
    const selector = { 'kubernetes.io/hostname': 'native' };
    const options = { name, registry, image: `signed/${name}`, unsigned: `vendor/${name}`, selector };
    await cluster.kubectl(['apply', '--filename=-'], prebuiltManifest(options));
    await untilHolds(cluster, async () => {
      const { status } = parseModule(await cluster.client.get(modules, { namespace: 'default', name }));
      expect(status?.kernels).toMatchObject([{ phase: 'Ready', reason: 'Signed' }]);
    });
    const labelSelector = `kmm.node.kubernetes.io/module.name=${name}`;
    const [job] = await listAll(cluster.client, jobs, { namespace: 'default', labelSelector });
    if (job === undefined) throw new Error('there is no Job');
    return { job, source };
  }

  /** Which layers of a source its Job has downloaded. */
  function layersRead({ layers }: ImageManifest): number[] {
    const paths = proxy.requests.filter(({ method }) => method === 'GET').map(({ path }) => path);
    return layers.flatMap(({ digest }, index) =>
      paths.some((path) => path.includes('/vendor/') && path.endsWith(digest)) ? [index] : [],
    );
  }

  it(
    'is left out where the claim does not exist',
    async () => {
      const { job, source } = await sign('driver-0');
      expect(claimsOf(job)).toEqual([]);
      expect(layersRead(source)).toEqual([0, 1, 2, 3]);
    },
    limit,
  );

  it(
    'keeps what a Job has read, and the next one on the same base reads only what it does not know',
    async () => {
      await cluster.kubectl(['apply', '--filename=-'], volumeManifest(volume));
      const first = await sign('driver-1');
      expect(claimsOf(first.job)).toEqual([claim]);
      expect(layersRead(first.source)).toEqual([0, 1, 2, 3]);
      const second = await sign('driver-2');
      // That with the module, and the one that the other image does not have.
      expect(layersRead(second.source)).toEqual([0, 3]);
    },
    limit,
  );

  it('belongs to the group, and what is on it to the user of the Jobs alone', async () => {
    const directory = join(volume, 'kmm-sign/layers');
    const files = (await readdir(directory)).map((name) => join(directory, name));
    // Without that of the module, once for each of the images: two layers of both, and two of one.
    expect(files).toHaveLength(4);
    expect(await stat(volume)).toMatchObject({ uid: 0, gid: fsGroup });
    const found = await Promise.all(
      [join(volume, 'kmm-sign'), directory, ...files].map((path) => stat(path)),
    );
    expect(new Set(found.map(({ uid }) => uid))).toEqual(new Set([65_532]));
    expect(found.filter(({ mode }) => (mode & 0o077) !== 0)).toEqual([]);
  });

  it('fits pod security "restricted"', async () => {
    const labelSelector = 'kmm.node.kubernetes.io/module.name=driver-2';
    const [job] = await listAll(cluster.client, jobs, { namespace: 'default', labelSelector });
    const metadata = { name: 'tried', namespace: operatorNamespace };
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec: job?.spec?.template.spec };
    const tried = ['create', '--dry-run=server', '--filename=-'];
    expect(await cluster.kubectl(tried, JSON.stringify(pod))).toContain('pod/tried created');
  });
});

/** The names of the claims that a Job mounts. */
function claimsOf({ spec }: Job): string[] {
  const volumes = spec?.template.spec?.volumes ?? [];
  return volumes.flatMap(({ persistentVolumeClaim: mounted }) => mounted?.claimName ?? []);
}

/** A volume on the node of this machine, whose root belongs to root, and the claim that it is bound to. */
function volumeManifest(path: string): string {
  const common = { accessModes: ['ReadWriteOnce'], storageClassName: '' };
  const hostname = { key: 'kubernetes.io/hostname', operator: 'In', values: ['native'] };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: [
      {
        apiVersion: 'v1',
        kind: 'PersistentVolume',
        metadata: { name: claim },
        spec: {
          ...common,
          capacity: { storage: '256Mi' },
          local: { path },
          nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [hostname] }] } },
        },
      },
      {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: claim, namespace: 'default' },
        spec: { ...common, volumeName: claim, resources: { requests: { storage: '256Mi' } } },
      },
    ],
  });
}
