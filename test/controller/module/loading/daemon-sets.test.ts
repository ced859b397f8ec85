import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseModule, type Module } from '../../../../src/api/module/module.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';
import { devicePluginDaemonSet } from '../../../../src/controller/module/loading/device-plugin.ts';
import type { DaemonSetContext } from '../../../../src/controller/module/loading/accounts.ts';
import { moduleLoaderDaemonSet } from '../../../../src/controller/module/loading/module-loader.ts';
import { resolveTarget } from '../../../../src/controller/module/kernel-mapping/resolve-target.ts';

const digest = `sha256:${'c3'.repeat(32)}`;
const facts: DaemonSetContext = {
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

function loader(module: Module, namespace = 'drivers', release = '6.0.15-300.fc37.x86_64') {
  const target = resolveTarget({
    module: { namespace, name: module.metadata.name },
    spec: module.spec,
    kernel: parseKernel(release),
  });
  if (target === undefined) throw new Error('No mapping matches');
  return moduleLoaderDaemonSet(target, digest, facts);
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

  it('runs the image pinned by its digest, asleep', () => {
    expect(container?.image).toBe(`some.registry/org/my-kmod@${digest}`);
    expect(container?.command).toEqual(['sleep', 'infinity']);
    expect(pod?.imagePullSecrets).toEqual([{ name: 'secret-name' }]);
  });

  it('loads when it starts and unloads before it stops', () => {
    expect(container?.lifecycle?.postStart?.exec?.command).toEqual([
      '/bin/sh',
      '-c',
      'cp -r /firmware/* /var/lib/firmware && modprobe -v -d /opt my-kmod param=1',
    ]);
    expect(container?.lifecycle?.preStop?.exec?.command?.[2]).toMatch(/; modprobe -rv -d \/opt my-kmod$/);
  });

  it('may load modules, and sees the modules and the firmware of the node', () => {
    expect(container?.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      capabilities: { add: ['SYS_MODULE'] },
      runAsUser: 0,
      seLinuxOptions: { type: 'spc_t' },
    });
    expect(pod?.priorityClassName).toBe('system-node-critical');
    expect(pod?.volumes).toEqual([
      {
        name: 'node-lib-modules',
        hostPath: { path: '/lib/modules/6.0.15-300.fc37.x86_64', type: 'Directory' },
      },
      { name: 'node-var-lib-firmware', hostPath: { path: '/var/lib/firmware', type: 'DirectoryOrCreate' } },
    ]);
    expect(container?.volumeMounts?.map(({ mountPath, readOnly }) => [mountPath, readOnly])).toEqual([
      ['/lib/modules/6.0.15-300.fc37.x86_64', true],
      ['/var/lib/firmware', undefined],
    ]);
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

  it('is absent when the Module has none, and needs no loaded module when there is no loader', () => {
    const without = example((spec) => delete spec['devicePlugin']);
    expect(plugin(without)).toBeUndefined();
    const alone = example((spec) => delete spec['moduleLoader']);
    expect(plugin(alone)?.spec?.template.spec?.nodeSelector).toEqual({
      'node-role.kubernetes.io/worker': '',
    });
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
    expect(plus?.spec?.template.spec?.volumes?.[0]?.hostPath?.path).toBe('/lib/modules/6.1.0+');
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
