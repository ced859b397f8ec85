import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseModule, type Module } from '../../../../src/api/module/module.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';
import { findIgnoredFields } from '../../../../src/api/module/ignored-fields.ts';
import { devicePluginDaemonSet } from '../../../../src/controller/module/loading/device-plugin.ts';
import { draDriverDaemonSet } from '../../../../src/controller/module/loading/dra-driver.ts';
import type { ImageDelivery } from '../../../../src/controller/module/loading/image-delivery.ts';
import { moduleLoaderDaemonSet } from '../../../../src/controller/module/loading/module-loader.ts';
import type { DaemonSetContext } from '../../../../src/controller/module/loading/settings.ts';
import { loaderSettings } from '../module-facts.ts';
import { resolveTarget } from '../../../../src/controller/module/kernel-mapping/resolve-target.ts';

const digest = `sha256:${'c3'.repeat(32)}`;
const facts: DaemonSetContext & { readonly loaderImage: string } = {
  loaderImage: 'r.example/kmm-sign:1',
  loader: loaderSettings,
  operator: {
    namespace: 'openshift-kmm',
    moduleLoaderServiceAccount: 'kmm-operator-module-loader',
    devicePluginServiceAccount: 'kmm-operator-device-plugin',
  },
  owner: {
    apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
    kind: 'Module',
    name: 'my-kmod',
    uid: 'uid',
    controller: true,
  },
};

/** The annotated example of the documentation, with its placeholders filled in. */
function example(change: (spec: Record<string, never>) => void = () => {}): Module {
  const text = readFileSync(
    new URL('../../../../fixtures/documents/openshift-4.12/4.3.3-module.yaml', import.meta.url),
    'utf8',
  ).replaceAll(/<([a-z_]+)>/g, (_all, name: string) => name.replaceAll('_', '-'));
  const object = parse(text) as { spec: Record<string, never> };
  change(object.spec);
  return parseModule(object);
}

function loader(
  module: Module,
  namespace = 'drivers',
  release = '6.0.15-300.fc37.x86_64',
  delivery: ImageDelivery = 'volume',
  settings: Partial<typeof loaderSettings> = {},
) {
  const target = resolveTarget({
    module: { namespace, name: module.metadata.name },
    spec: module.spec,
    kernel: parseKernel(release),
  });
  if (target === undefined) throw new Error('No mapping matches');
  const context = { ...facts, loader: { ...loaderSettings, ...settings } };
  return moduleLoaderDaemonSet(target, { digest, delivery }, context);
}

function plugin(module: Module, namespace = 'drivers') {
  return devicePluginDaemonSet({ namespace, name: module.metadata.name }, module.spec, facts);
}

describe('the module loader of the documented Module', () => {
  const daemonSet = loader(example());
  const pod = daemonSet.spec?.template.spec;
  const container = pod?.containers[0];

  it('runs on the nodes of its kernel that the selector finds', () => {
    expect(pod?.nodeSelector).toEqual({
      'node-role.kubernetes.io/worker': '',
      'kmm.node.kubernetes.io/kernel-version.full': '6.0.15-300.fc37.x86_64',
    });
    expect(daemonSet.spec?.selector.matchLabels).toEqual({
      'kmm.node.kubernetes.io/module.name': 'my-kmod',
      'kmm.node.kubernetes.io/kernel-version.full': '6.0.15-300.fc37.x86_64',
      'kmm.node.kubernetes.io/role': 'module-loader',
    });
    expect(daemonSet.spec?.template.metadata?.labels).toMatchObject(
      daemonSet.spec?.selector.matchLabels ?? {},
    );
  });

  it('is a container of the operator, and mounts the image pinned by its digest', () => {
    expect(container?.image).toBe('r.example/kmm-sign:1');
    expect(container?.command?.slice(0, 2)).toEqual(['/bin/sh', '-c']);
    expect(pod?.initContainers).toBeUndefined();
    expect(pod?.volumes?.[0]).toEqual({
      name: 'module-image',
      image: { reference: `some.registry/org/my-kmod@${digest}` },
    });
    expect(pod?.imagePullSecrets).toEqual([{ name: 'secret-name' }]);
  });

  it('loads with the arguments of the Module, and unloads with theirs when it is told to end', () => {
    expect(container?.env).toEqual(
      expect.arrayContaining([
        { name: 'KMM_LOAD', value: '-v -d /opt my-kmod param=1' },
        { name: 'KMM_UNLOAD', value: '-rv -d /opt my-kmod' },
        { name: 'KMM_UNLOAD_SECONDS', value: '55' },
      ]),
    );
    expect(container?.lifecycle).toBeUndefined();
    expect(pod?.terminationGracePeriodSeconds).toBe(60);
  });

  it('may load modules and read the kernel’s messages, and sees the modules and the firmware of the node', () => {
    expect(container?.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      capabilities: { add: ['SYS_MODULE', 'SYSLOG'] },
      runAsUser: 0,
      seLinuxOptions: { type: 'spc_t' },
    });
    expect(pod?.priorityClassName).toBe('system-node-critical');
    expect(pod?.volumes?.slice(1)).toEqual([
      { name: 'node-lib-modules', hostPath: { path: '/lib/modules', type: 'DirectoryOrCreate' } },
      { name: 'node-firmware', hostPath: { path: '/var/lib/firmware', type: 'DirectoryOrCreate' } },
    ]);
    expect(container?.volumeMounts?.map(({ mountPath, readOnly }) => [mountPath, readOnly])).toEqual([
      ['/module-image', true],
      ['/host/lib/modules', true],
      ['/host/firmware', undefined],
    ]);
  });

  it('is ready while the module is in the kernel', () => {
    const exec = { command: ['test', '-d', '/run/kmm-loader/ready/.'] };
    expect(container?.readinessProbe).toMatchObject({ exec, failureThreshold: 1 });
    expect(container?.startupProbe).toMatchObject({ exec, periodSeconds: 1 });
  });

  it('copies the image where nodes cannot mount it, with a program that the image need not have', () => {
    const { initContainers = [], volumes } =
      loader(example(), 'drivers', '6.1.0', 'copy').spec?.template.spec ?? {};
    expect(initContainers.map(({ name, image }) => [name, image])).toEqual([
      ['copy-tool', 'r.example/kmm-sign:1'],
      ['copy-module', `some.registry/org/my-kmod@${digest}`],
    ]);
    expect(initContainers[1]?.command?.slice(0, 3)).toEqual(['/kmm-tools/busybox', 'sh', '-c']);
    expect(initContainers[1]?.args).toEqual([
      '/opt/lib/modules',
      '/firmware',
      '/etc/modprobe.d',
      '/lib/modprobe.d',
      '/usr/lib/modprobe.d',
      '/usr/local/lib/modprobe.d',
    ]);
    expect(volumes?.slice(0, 2)).toEqual([
      { name: 'module-image', emptyDir: {} },
      { name: 'tools', emptyDir: {} },
    ]);
  });

  it('sets the kernel’s search path for firmware where the operator is configured so', () => {
    const settings = { firmwareHostPath: '/var/firmware', seLinuxType: 'other_t' };
    const configured = loader(example(), 'drivers', '6.1.0', 'volume', settings).spec?.template.spec;
    expect(configured?.volumes?.slice(2)).toEqual([
      { name: 'node-firmware', hostPath: { path: '/var/firmware', type: 'DirectoryOrCreate' } },
      { name: 'node-sys-module', hostPath: { path: '/sys/module', type: 'Directory' } },
    ]);
    expect(configured?.containers[0]?.env).toContainEqual({
      name: 'KMM_FIRMWARE_PATH',
      value: '/var/firmware',
    });
    expect(configured?.containers[0]?.securityContext).toMatchObject({
      seLinuxOptions: { type: 'other_t' },
    });
  });
});

describe('the device plugin of the documented Module', () => {
  const daemonSet = plugin(example());
  const pod = daemonSet?.spec?.template.spec;

  it('runs where the module is loaded', () => {
    expect(pod?.nodeSelector).toEqual({
      'node-role.kubernetes.io/worker': '',
      'kmm.node.kubernetes.io/drivers.my-kmod.ready': '',
    });
  });

  it('is privileged and sees the directory of device plugins and what the Module gives it', () => {
    expect(pod?.containers[0]).toMatchObject({
      name: 'device-plugin',
      image: 'some.registry/org/device-plugin:latest',
      env: [{ name: 'MY_DEVICE_PLUGIN_ENV_VAR', value: 'SOME_VALUE' }],
      securityContext: { privileged: true },
      volumeMounts: [
        { mountPath: '/some/mountPath', name: 'device-plugin-volume' },
        { mountPath: '/var/lib/kubelet/device-plugins', name: 'kubelet-device-plugins' },
      ],
    });
    expect(pod?.volumes).toEqual([
      { name: 'device-plugin-volume', configMap: { name: 'some-configmap' } },
      {
        name: 'kubelet-device-plugins',
        hostPath: { path: '/var/lib/kubelet/device-plugins', type: 'Directory' },
      },
    ]);
  });

  it('has the probes of its Module, but for those of an init container, which has none', () => {
    const startupProbe = { httpGet: { port: 8080, path: '/started' } };
    const livenessProbe = { exec: { command: ['true'] }, periodSeconds: 5 };
    const probed = example((spec) => {
      const container = { image: 'r.example/plugin:1', startupProbe, livenessProbe };
      Object.assign(spec, { devicePlugin: { container, initContainer: container } });
    });
    const { containers = [], initContainers = [] } = plugin(probed)?.spec?.template.spec ?? {};
    expect(containers).toMatchObject([{ startupProbe, livenessProbe }]);
    expect(initContainers).toEqual([{ name: 'device-plugin-init', image: 'r.example/plugin:1' }]);
    expect(findIgnoredFields(probed.spec, 'buildah').map(({ path }) => path)).toEqual([
      'spec.devicePlugin.initContainer',
    ]);
  });

  it('is absent when the Module has none, and needs no loaded module when there is no loader', () => {
    const without = example((spec) => delete spec['devicePlugin']);
    expect(plugin(without)).toBeUndefined();
    const alone = example((spec) => delete spec['moduleLoader']);
    expect(plugin(alone)?.spec?.template.spec?.nodeSelector).toEqual({
      'node-role.kubernetes.io/worker': '',
    });
  });
});

/** The example with a DRA driver in the place of its device plugin. */
function withDra(container: object = {}): Module {
  return example((spec) => {
    delete spec['devicePlugin'];
    const dra = {
      driverName: 'gpu.example',
      container: { image: 'r.example/dra:1', env: [{ name: 'MINE', value: 'yes' }], ...container },
      initContainer: { image: 'r.example/init:1' },
      volumes: [{ name: 'own', hostPath: { path: '/opt/own' } }],
      serviceAccountName: 'dra',
      automountServiceAccountToken: true,
    };
    Object.assign(spec, { dra });
  });
}

function driver(module: Module) {
  return draDriverDaemonSet({ namespace: 'drivers', name: module.metadata.name }, module.spec, facts);
}

function driverPod(module: Module) {
  return driver(module)?.spec?.template.spec;
}

describe('the DaemonSet of a DRA driver', () => {
  it('is as KMM has it: where the module is loaded, in the network of the node, with the kubelet’s directories', () => {
    const pod = driverPod(withDra());
    expect(pod).toMatchObject({
      hostNetwork: true,
      priorityClassName: 'system-node-critical',
      serviceAccountName: 'dra',
      automountServiceAccountToken: true,
      nodeSelector: {
        'node-role.kubernetes.io/worker': '',
        'kmm.node.kubernetes.io/drivers.my-kmod.ready': '',
      },
      initContainers: [
        { name: 'dra-init', image: 'r.example/init:1', securityContext: { privileged: true } },
      ],
      volumes: [
        { name: 'own', hostPath: { path: '/opt/own' } },
        {
          name: 'kubelet-plugins',
          hostPath: { path: '/var/lib/kubelet/plugins/', type: 'DirectoryOrCreate' },
        },
        {
          name: 'kubelet-plugins-registry',
          hostPath: { path: '/var/lib/kubelet/plugins_registry/', type: 'Directory' },
        },
        { name: 'cdi', hostPath: { path: '/var/run/cdi', type: 'DirectoryOrCreate' } },
      ],
    });
    expect(pod?.containers).toEqual([
      {
        name: 'dra',
        image: 'r.example/dra:1',
        securityContext: { privileged: true },
        env: [
          { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
          { name: 'POD_UID', valueFrom: { fieldRef: { fieldPath: 'metadata.uid' } } },
          { name: 'CDI_ROOT', value: '/var/run/cdi' },
          { name: 'KUBELET_REGISTRAR_DIRECTORY_PATH', value: '/var/lib/kubelet/plugins_registry/' },
          { name: 'KUBELET_PLUGINS_DIRECTORY_PATH', value: '/var/lib/kubelet/plugins/' },
          { name: 'HEALTHCHECK_PORT', value: '51515' },
          { name: 'MINE', value: 'yes' },
        ],
        volumeMounts: [
          { name: 'kubelet-plugins', mountPath: '/var/lib/kubelet/plugins/' },
          { name: 'kubelet-plugins-registry', mountPath: '/var/lib/kubelet/plugins_registry/' },
          { name: 'cdi', mountPath: '/var/run/cdi' },
        ],
        livenessProbe: {
          grpc: { port: 51_515, service: 'liveness' },
          initialDelaySeconds: 30,
          periodSeconds: 10,
          timeoutSeconds: 5,
          failureThreshold: 3,
        },
      },
    ]);
  });

  it.each([
    ['another port', '51600', 51_600],
    ['none', '-1', undefined],
  ])('follows a driver that serves its health at %s', (_title, value, port) => {
    const env = [{ name: 'HEALTHCHECK_PORT', value }];
    const [container] = driverPod(withDra({ env }))?.containers ?? [];
    expect(container?.env?.filter(({ name }) => name === 'HEALTHCHECK_PORT')).toEqual(env);
    expect(container?.livenessProbe?.grpc?.port).toBe(port);
  });

  it('needs no loaded module when there is no loader, and is absent when the Module has none', () => {
    const alone = withDra();
    const spec = { ...alone.spec, moduleLoader: undefined };
    expect(driverPod({ ...alone, spec })?.nodeSelector).toEqual({ 'node-role.kubernetes.io/worker': '' });
    expect(driver(example())).toBeUndefined();
  });
});

/** The accounts of module loader and device plugin. */
function accounts(module: Module, namespace: string): unknown[] {
  return [
    loader(module, namespace).spec?.template.spec?.serviceAccountName,
    plugin(module, namespace)?.spec?.template.spec?.serviceAccountName,
  ];
}

describe('service accounts', () => {
  const unnamed = example((spec) => {
    delete spec['moduleLoader']?.['serviceAccountName'];
    delete spec['devicePlugin']?.['serviceAccountName'];
  });

  it('are the named ones, in any namespace', () => {
    expect(accounts(example(), 'drivers')).toEqual(['sa-module-loader', 'sa-device-plugin']);
    expect(accounts(example(), 'openshift-kmm')).toEqual(['sa-module-loader', 'sa-device-plugin']);
  });

  it("are the operator's in its own namespace, else the namespace's default", () => {
    expect(accounts(unnamed, 'openshift-kmm')).toEqual([
      'kmm-operator-module-loader',
      'kmm-operator-device-plugin',
    ]);
    expect(accounts(unnamed, 'drivers')).toEqual([undefined, undefined]);
  });
});

describe('special cases of module loaders', () => {
  it('pin a version to the nodes that may have it', () => {
    const versioned = example((spec) =>
      Object.assign(spec['moduleLoader']?.['container'] ?? {}, { version: '2' }),
    );
    const daemonSet = loader(versioned);
    const key = 'beta.kmm.node.kubernetes.io/version-module-loader.drivers.my-kmod';
    expect(daemonSet.spec?.template.spec?.nodeSelector?.[key]).toBe('2');
    expect(daemonSet.spec?.selector.matchLabels?.[key]).toBe('2');
    expect(daemonSet.metadata?.name).not.toBe(loader(example()).metadata?.name);
    expect(plugin(versioned)?.spec?.template.spec?.nodeSelector).toMatchObject({
      'beta.kmm.node.kubernetes.io/version-device-plugin.drivers.my-kmod': '2',
    });
  });

  it('look into the directory of the node that has the +, and keep it apart from the kernel without', () => {
    const [plus, plain] = ['6.1.0+', '6.1.0'].map((release) => loader(example(), 'drivers', release));
    expect(plus?.spec?.template.spec?.containers[0]?.env).toContainEqual({
      name: 'KMM_RELEASE',
      value: '6.1.0+',
    });
    expect(plus?.metadata?.name).not.toBe(plain?.metadata?.name);
    expect(plus?.spec?.selector).not.toEqual(plain?.spec?.selector);
  });

  it('give modprobe the order of modules as a file', () => {
    const ordered = example((spec) =>
      Object.assign(spec['moduleLoader']?.['container']?.['modprobe'] ?? {}, {
        modulesLoadingOrder: ['my-kmod', 'helper'],
      }),
    );
    const template = loader(ordered).spec?.template;
    expect(template?.metadata?.annotations).toEqual({
      'kmm.node.kubernetes.io/modules-order': 'softdep my-kmod pre: helper\n',
    });
    expect(template?.spec?.volumes).toContainEqual({
      name: 'modules-order',
      downwardAPI: {
        items: [
          {
            path: 'softdep.conf',
            fieldRef: { fieldPath: "metadata.annotations['kmm.node.kubernetes.io/modules-order']" },
          },
        ],
      },
    });
  });
});
