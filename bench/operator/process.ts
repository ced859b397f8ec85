// The Module controller as a process of its own: node process.ts KUBECONFIG. Its parent asks it for a report.
import { argv } from 'node:process';
import { allCaches, createCaches } from '../../src/controller/observe/cluster/caches.ts';
import { ImageRegistry } from '../../src/controller/observe/images/image-registry.ts';
import { DeviceClassCache } from '../../src/controller/module/device-classes/device-class-cache.ts';
import { createModuleController } from '../../src/controller/module/module-controller.ts';
import { ReferenceCache } from '../../src/controller/observe/references/reference-cache.ts';
import { ApiClient } from '../../src/controller/runtime/api/client.ts';
import {
  createConnection,
  type Connection,
  loadConfig,
} from '../../src/controller/runtime/api/connection.ts';
import { EventRecorder } from '../../src/controller/runtime/event-recorder.ts';
import type { ControllerMetrics } from '../../src/controller/runtime/metrics.ts';
import type { WorkQueue } from '../../src/controller/runtime/work-queue.ts';
import { silentLogger } from '../../src/shared/logger.ts';
import { emptyReport, type OperatorReport } from './report.ts';

const connection = createConnection(await loadConfig(argv[2]));
let report: OperatorReport = emptyReport();
let active = 0;
let queue: WorkQueue | undefined;

const send: Connection['send'] = (request) => {
  const { searchParams } = new URL(request.path, 'https://server');
  const isRead = request.method === 'GET';
  const verb = searchParams.has('watch')
    ? 'WATCH'
    : isRead && searchParams.has('limit')
      ? 'LIST'
      : request.method;
  report.calls[verb] = (report.calls[verb] ?? 0) + 1;
  return connection.send(request);
};
const nothing = (): void => {};
const metrics: ControllerMetrics = {
  queue: { added: nothing, retried: nothing, taken: nothing, worked: nothing },
  follow: (followed) => (queue = followed),
  started: () => (active += 1),
  ended: (outcome, seconds) => {
    active -= 1;
    report.reconciles.push(seconds);
    if (outcome === 'error') report.errors += 1;
  },
};

const client = new ApiClient({
  connection: { ...connection, send },
  fieldManager: 'kmm-operator',
  userAgent: 'bench',
});
const log = silentLogger;
const caches = createCaches(client, log);
const references = new ReferenceCache(client, log);
const deviceClasses = new DeviceClassCache(client, log);
const controller = createModuleController(
  {
    client,
    caches,
    references,
    deviceClasses,
    images: new ImageRegistry({ userAgent: 'bench' }),
    log,
    events: new EventRecorder(client, 'kmm.sigs.x-k8s.io/operator', 'bench'),
    operator: {
      namespace: 'kmm-operator-system',
      moduleLoaderServiceAccount: 'kmm-operator-module-loader',
      devicePluginServiceAccount: 'kmm-operator-device-plugin',
    },
    loader: {
      image: 'registry.example/kmm-sign:1',
      imageVolumes: 'auto',
      firmwareHostPath: undefined,
      seLinuxType: 'spc_t',
      unloadTimeout: 60_000,
      deletionTimeout: 900_000,
    },
    settings: {
      builder: 'kaniko',
      userNamespaces: false,
      signImage: 'registry.example/kmm-sign:1',
      backoffLimit: 3,
      backoff: 10_000,
      gcDelay: 0,
      driverToolkit: () => new Map(),
    },
  },
  { maxConcurrent: 4, metrics },
);

process.on('message', (message) => {
  if (message === 'forget') report = emptyReport();
  process.send?.({
    ...report,
    nodes: caches.nodes.size,
    busy: active + (queue?.depth ?? 0),
    memory: process.memoryUsage.rss(),
  });
});
process.on('disconnect', () => process.exit());

const { signal } = new AbortController();
await Promise.all([
  ...allCaches(caches).map((cache) => cache.run(signal)),
  references.run(signal),
  deviceClasses.run(signal),
  controller.run({ signal }),
]);
