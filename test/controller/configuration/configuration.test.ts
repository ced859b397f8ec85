import { readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfiguration } from '../../../src/controller/configuration/configuration.ts';
import { ConfigurationError } from '../../../src/controller/configuration/errors.ts';
import { configurationKeys } from '../../../src/controller/configuration/read-file.ts';

const environment = { OPERATOR_NAMESPACE: 'kmm-operator-system' };
const load = (text: string, more: Readonly<Record<string, string>> = {}) =>
  loadConfiguration(text, { ...environment, ...more });

/** What is wrong, one sentence each. */
function problemsOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.facts['problems'];
    throw error;
  }
  return [];
}

/** The files that KMM ships, by version. */
const shipped = {
  '1.x': `
apiVersion: controller-runtime.sigs.k8s.io/v1alpha1
kind: ControllerManagerConfig
health:
  healthProbeBindAddress: :8081
metrics:
  bindAddress: 127.0.0.1:8080
webhook:
  port: 9443
leaderElection:
  leaderElect: true
  resourceName: kmm.sigs.x-k8s.io
`,
  '2.0': `
healthProbeBindAddress: :8081
metricsBindAddress: 127.0.0.1:8080
leaderElection:
  enabled: true
  resourceID: kmm.sigs.x-k8s.io
webhookPort: 9443
worker:
  runAsUser: 0
  seLinuxType: spc_t
  setFirmwareClassPath: /var/lib/firmware
`,
  '2.1 for a hub': `
healthProbeBindAddress: :8081
metricsBindAddress: 127.0.0.1:8080
webhookPort: 9443
leaderElection:
  enabled: true
  resourceID: kmm-hub.sigs.x-k8s.io
metrics:
  enableAuthnAuthz: true
  bindAddress: 0.0.0.0:8443
  secureServing: true
`,
  '2.4 upstream': `
healthProbeBindAddress: :8081
job:
  gcDelay: 1h30m
leaderElection:
  enabled: true
  resourceID: kmm.sigs.x-k8s.io
metrics:
  enableAuthnAuthz: true
  bindAddress: 0.0.0.0:8443
  secureServing: true
webhookPort: 9443
worker:
  runAsUser: 0
  seLinuxType: spc_t
  firmwareHostPath: /lib/firmware
`,
  '2.4 of OpenShift': `
healthProbeBindAddress: :8081
job:
  gcDelay: 0s
leaderElection:
  enabled: true
  resourceID: kmm-hub.sigs.x-k8s.io
metrics:
  enableAuthnAuthz: true
  disableHTTP2: true
  bindAddress: 0.0.0.0:8443
  secureServing: true
webhook:
  disableHTTP2: true
  port: 9443
worker:
  runAsUser: 0
  seLinuxType: spc_t
  firmwareHostPath: /var/lib/firmware
`,
};

const expectedName = 'expected the name of an object: lower case letters, digits, - and .';

describe('the configuration', () => {
  it('takes the image of Node Feature Discovery from the file, or from the variables of both operators', () => {
    const own = { RELATED_IMAGE_NODE_FEATURE_DISCOVERY: 'registry.example/own' };
    const theirs = { NODE_FEATURE_DISCOVERY_IMAGE: 'registry.example/theirs' };
    expect(load('nodeFeatureDiscovery: {image: registry.example/file}', own).nodeFeatureDiscovery.image).toBe(
      'registry.example/file',
    );
    expect(load('', { ...own, ...theirs }).nodeFeatureDiscovery.image).toBe('registry.example/own');
    expect(load('', theirs).nodeFeatureDiscovery.image).toBe('registry.example/theirs');
    expect(loadConfiguration('', environment, 'nfd').leaderElection.resourceId).toBe('nfd.kmm.sigs.x-k8s.io');
  });

  it('has defaults for everything that may be left out', () => {
    const { build, ...rest } = load('');
    expect(rest).toEqual({
      namespace: 'kmm-operator-system',
      managed: false,
      healthProbe: { host: undefined, port: 8081 },
      metrics: { address: { host: '0.0.0.0', port: 8443 }, secureServing: true, enableAuthnAuthz: true },
      webhook: { port: 9443, certificateDirectory: undefined },
      leaderElection: {
        enabled: true,
        resourceId: 'kmm.sigs.x-k8s.io',
        leaseDuration: 15_000,
        renewDeadline: 10_000,
        retryPeriod: 2000,
      },
      job: { gcDelay: 0, backoffLimit: 3, backoff: 30_000, deadline: 7_200_000 },
      sign: { image: undefined, podTemplate: undefined, layerCache: undefined },
      loader: {
        image: undefined,
        imageVolumes: 'auto',
        firmwareHostPath: undefined,
        seLinuxType: 'spc_t',
        unloadTimeout: 60_000,
        deletionTimeout: 900_000,
      },
      driverToolkit: { images: new Map() },
      registry: { trustedCertificates: undefined, checkInterval: 600_000 },
      hub: { maxConcurrentJobs: 10 },
      nodeTrust: undefined,
      nodeFeatureDiscovery: { image: undefined },
      proxy: {},
      ignoredKeys: [],
    });
    expect(build).toMatchObject({ builder: 'kaniko', userNamespaces: false, podTemplate: undefined });
    expect(build.images.kaniko).toContain('kaniko');
  });

  it('is for a hub when it is told so, which has a Lease of its own', () => {
    const loaded = loadConfiguration('hub: {kueueQueue: builds}', environment, 'hub');
    expect(loaded.leaderElection.resourceId).toBe('kmm-hub.sigs.x-k8s.io');
    expect(loaded.hub).toEqual({ kueueQueue: 'builds' });
    const both = 'hub: {kueueQueue: builds, maxConcurrentJobs: 3}';
    expect(() => loadConfiguration(both, environment)).toThrow('hub.maxConcurrentJobs');
  });

  test('uses metrics.bindAddress where KMM shipped it beside metricsBindAddress, and says so', () => {
    const loaded = load(shipped['2.1 for a hub']);
    expect(loaded.metrics.address).toEqual({ host: '0.0.0.0', port: 8443 });
    expect(loaded.ignoredKeys).toEqual(['metricsBindAddress']);
  });

  test('takes keys that mean the same when they agree', () => {
    expect(load('webhook: {port: 1234}\nwebhookPort: 1234').webhook.port).toBe(1234);
  });

  test.each(Object.entries(shipped))('takes the file of KMM %s as it is', (_, text) => {
    const loaded = load(text);
    expect(loaded.healthProbe).toEqual({ host: undefined, port: 8081 });
    expect(loaded.webhook.port).toBe(9443);
    expect(loaded.leaderElection.enabled).toBe(true);
    const { worker } = parse(text) as { worker?: Record<string, unknown> };
    expect(loaded.ignoredKeys.filter((key) => key.startsWith('worker.'))).toEqual(
      worker === undefined ? [] : ['worker.runAsUser'],
    );
    expect(loaded.loader.firmwareHostPath).toBe(
      worker?.['firmwareHostPath'] ?? worker?.['setFirmwareClassPath'],
    );
  });

  it('reads the spellings of old versions', () => {
    expect(load(shipped['1.x']).metrics.address).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(load(shipped['2.0']).metrics.address).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(load('leaderElection: {leaderElect: false, resourceName: mine}').leaderElection).toMatchObject({
      enabled: false,
      resourceId: 'mine',
    });
    expect(load('webhookPort: 1234').webhook.port).toBe(1234);
    expect(load(shipped['2.4 upstream']).job.gcDelay).toBe(5_400_000);
  });

  test.each([
    ['leaderElection: {resourceId: x}', ['leaderElection.resourceId: unknown key; did you mean resourceID?']],
    ['gcDelay: 1h', ['gcDelay: unknown key; did you mean job.gcDelay?']],
    ['build: {xyz: 1}', ['build.xyz: unknown key']],
    [
      'build: {podTemplate: {nodeselector: {}}}',
      ['build.podTemplate.nodeselector: unknown key; did you mean nodeSelector?'],
    ],
    [
      'webhook: {prt: 1}\nmetrics: {bindAdress: x}',
      [
        'metrics.bindAdress: unknown key; did you mean bindAddress?',
        'webhook.prt: unknown key; did you mean port?',
      ],
    ],
    ['sign: {layerCache: {}}', [`sign.layerCache.persistentVolumeClaim: ${expectedName}`]],
    [
      'sign: {layerCache: {persistentVolumeClaim: Layers/x}}',
      [`sign.layerCache.persistentVolumeClaim: ${expectedName}`],
    ],
    [
      'sign: {layerCache: {persistentVolumeClaim: layers, fsgroup: 1}}',
      ['sign.layerCache.fsgroup: unknown key; did you mean fsGroup?'],
    ],
    [
      'sign: {layerCache: {persistentVolumeClaim: layers, fsGroup: 4294967295}}',
      ['sign.layerCache.fsGroup: Too big: expected number to be <=2147483647'],
    ],
    ['job: {gcDelay: 1 hour}', ['job.gcDelay: expected a duration such as 30s, 10m or 1h30m']],
    ['job: {gcDelay: -1s}', ['job.gcDelay: expected a duration such as 30s, 10m or 1h30m']],
    ['job: {gcDelay: 10000h}', ['job.gcDelay: must be less than 24 days']],
    ['job: {deadline: 0s}', ['job.deadline: must be more than zero']],
    [
      'healthProbeBindAddress: 8081',
      ['healthProbeBindAddress: expected an address such as :8081 or 127.0.0.1:8081, or 0 for none'],
    ],
    [
      'healthProbeBindAddress: :70000',
      ['healthProbeBindAddress: expected an address such as :8081 or 127.0.0.1:8081, or 0 for none'],
    ],
    [
      'webhook: {port: 1}\nwebhookPort: 2',
      ['webhookPort: means the same as webhook.port, which has another value'],
    ],
    [
      'leaderElection: {leaseDuration: 5s}',
      ['leaderElection.leaseDuration: must be whole seconds, and more than leaderElection.renewDeadline'],
    ],
    [
      'leaderElection: {leaseDuration: 10s}',
      ['leaderElection.leaseDuration: must be whole seconds, and more than leaderElection.renewDeadline'],
    ],
  ])('refuses %j and names the key', (text, problems) => {
    expect(problemsOf(() => load(text))).toEqual(problems);
  });

  test.each(['a: [', 'job: {}\njob: {}', '- 1', 'text', 'job: {}\n---\njob: {}', 'build: {builder: docker}'])(
    'refuses %j',
    (text) => {
      expect(problemsOf(() => load(text))).toHaveLength(1);
    },
  );

  it('takes keys without a value for keys that are not there', () => {
    expect(load('job:\nmetrics:\n  bindAddress:\n')).toEqual(load(''));
  });

  it('turns servers off', () => {
    const { healthProbe, metrics } = load('{healthProbeBindAddress: "0", metrics: {bindAddress: 0}}');
    expect([healthProbe, metrics.address]).toEqual([undefined, undefined]);
    expect(load('healthProbeBindAddress: "[::1]:80"').healthProbe).toEqual({ host: '::1', port: 80 });
  });

  it('reads what is ours', () => {
    const loaded = load(`
build: { builder: buildah, userNamespaces: true, podTemplate: { resources: { limits: { memory: 4Gi } } } }
sign:
  image: registry.example.org/kmm-sign:1
  podTemplate: { priorityClassName: high }
  layerCache: { persistentVolumeClaim: layers, fsGroup: 65532 }
job: { backoffLimit: 0, backoff: 1.5s, deadline: 90m }
driverToolkit: { images: { 412.86.202302211547-0: registry.example.org/dtk:412 } }
registry: { trustedCertificates: { configMap: authorities, key: ca.crt }, checkInterval: 30s }
`);
    expect(loaded.build).toMatchObject({ builder: 'buildah', userNamespaces: true });
    expect(loaded.build.images.buildah).toContain('buildah');
    expect(loaded.build.podTemplate).toEqual({ resources: { limits: { memory: '4Gi' } } });
    expect(loaded.sign).toEqual({
      image: 'registry.example.org/kmm-sign:1',
      podTemplate: { priorityClassName: 'high' },
      layerCache: { claim: 'layers', fsGroup: 65_532 },
    });
    expect(loaded.job).toEqual({ gcDelay: 0, backoffLimit: 0, backoff: 1500, deadline: 5_400_000 });
    expect([...loaded.driverToolkit.images]).toEqual([
      ['412.86.202302211547-0', 'registry.example.org/dtk:412'],
    ]);
    expect(loaded.registry).toEqual({
      trustedCertificates: { configMap: 'authorities', key: 'ca.crt' },
      checkInterval: 30_000,
    });
  });
});

describe('the environment', () => {
  it('needs the namespace, and a KMM_MANAGED that Go would understand', () => {
    expect(problemsOf(() => loadConfiguration('', {}))).toEqual(['OPERATOR_NAMESPACE: not set']);
    expect(problemsOf(() => load('', { KMM_MANAGED: 'yes' }))).toEqual([
      'KMM_MANAGED: expected true or false, not "yes"',
    ]);
    const managed = ['1', 't', 'True', '0', 'f', ''].map((value) => load('', { KMM_MANAGED: value }).managed);
    expect(managed).toEqual([true, true, true, false, false, false]);
  });

  it('has settings of module loaders', () => {
    const text = `
loader: { image: r.example/loader:1, imageVolumes: never, unloadTimeout: 5m, deletionTimeout: 1h }
worker: { seLinuxType: other_t }
sign: { image: r.example/kmm-sign:1 }
`;
    expect(load(text).loader).toEqual({
      image: 'r.example/loader:1',
      imageVolumes: 'never',
      firmwareHostPath: undefined,
      seLinuxType: 'other_t',
      unloadTimeout: 300_000,
      deletionTimeout: 3_600_000,
    });
    expect(load('sign: { image: a }').loader.image).toBe('a');
    expect(load('', { RELATED_IMAGE_SIGN: 'b' }).loader.image).toBe('b');
    const both = { RELATED_IMAGE_SIGN: 'b', RELATED_IMAGE_LOADER: 'c' };
    expect(load('sign: { image: d }', both).loader.image).toBe('c');
    expect(load('loader: { image: e }', both).loader.image).toBe('e');
  });

  it("says where the webhook's certificate is, unless the file does", () => {
    const variables = { WEBHOOK_CERTIFICATE_DIRECTORY: '/certificates' };
    expect(load('', variables).webhook.certificateDirectory).toBe('/certificates');
    expect(load('webhook: { certDir: /own }', variables).webhook.certificateDirectory).toBe('/own');
    expect(load('', {}).webhook.certificateDirectory).toBeUndefined();
  });

  it('names images, in both spellings, which the file overrides', () => {
    expect(load('', { RELATED_IMAGES_SIGN: 'a', RELATED_IMAGES_BUILD: 'b' })).toMatchObject({
      sign: { image: 'a' },
      build: { images: { kaniko: 'b', buildah: expect.stringContaining('buildah') } },
    });
    const both = { RELATED_IMAGE_SIGN: 'a', RELATED_IMAGE_BUILD: 'b' };
    expect(load('{sign: {image: c}, build: {image: d}}', both)).toMatchObject({
      sign: { image: 'c' },
      build: { images: { kaniko: 'd' } },
    });
    expect(load('build: {builder: buildah, image: e}', both).build.images).toEqual({
      buildah: 'e',
      kaniko: 'b',
    });
  });

  it('gives the proxy, without which there is none', () => {
    expect(load('', { HTTPS_PROXY: 'http://proxy:3128', no_proxy: '.svc' }).proxy).toEqual({
      httpsProxy: 'http://proxy:3128',
      noProxy: '.svc',
    });
  });
});

test('docs/operator-configuration.md explains every key', () => {
  const text = readFileSync(new URL('../../../docs/operator-configuration.md', import.meta.url), 'utf8');
  expect(configurationKeys.length).toBeGreaterThan(50);
  expect(configurationKeys.filter((key) => !text.includes(`\`${key}\``))).toEqual([]);
});
