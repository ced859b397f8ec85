import type { V1Container, V1DaemonSet, V1EnvVar, V1Probe, V1Volume } from '@kubernetes/client-node';
import type { DraDriver, ModuleSpec } from '../../../api/module/spec.ts';
import type { ModuleName } from '../../../builder/labels.ts';
import { pluginContainer, pluginDaemonSet, probesOf } from './plugin-daemon-set.ts';
import type { DaemonSetContext } from './settings.ts';

/** The role of drivers for dynamic resource allocation (DRA) in labels. */
export const draDriverRole = 'dra';

/** Where drivers have their sockets, where they register, and where they describe devices to runtimes (CDI). */
const directories = {
  plugins: '/var/lib/kubelet/plugins/',
  registry: '/var/lib/kubelet/plugins_registry/',
  cdi: '/var/run/cdi',
} as const;

const volumes: readonly V1Volume[] = [
  { name: 'kubelet-plugins', hostPath: { path: directories.plugins, type: 'DirectoryOrCreate' } },
  { name: 'kubelet-plugins-registry', hostPath: { path: directories.registry, type: 'Directory' } },
  { name: 'cdi', hostPath: { path: directories.cdi, type: 'DirectoryOrCreate' } },
];

/** What drivers are configured by, as KMM sets it. */
const environment: readonly V1EnvVar[] = [
  { name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
  { name: 'POD_UID', valueFrom: { fieldRef: { fieldPath: 'metadata.uid' } } },
  { name: 'CDI_ROOT', value: directories.cdi },
  { name: 'KUBELET_REGISTRAR_DIRECTORY_PATH', value: directories.registry },
  { name: 'KUBELET_PLUGINS_DIRECTORY_PATH', value: directories.plugins },
];
const portVariable = 'HEALTHCHECK_PORT';
const defaultPort = '51515';
const maxPort = 65_535;

/**
 * Returns the DaemonSet of a Module's driver for dynamic resource allocation.
 * @returns undefined if the Module has none
 */
export function draDriverDaemonSet(
  module: ModuleName,
  spec: ModuleSpec,
  context: Pick<DaemonSetContext, 'operator' | 'owner'>,
): V1DaemonSet | undefined {
  const { dra } = spec;
  if (dra === undefined) return undefined;
  const { initContainer } = dra;
  const plugin = {
    role: draDriverRole,
    operand: dra,
    containers: [containerOf(dra)],
    initContainers:
      initContainer === undefined ? [] : [privileged(pluginContainer('dra-init', initContainer))],
    volumes,
    hostNetwork: true,
  } as const;
  return pluginDaemonSet(module, spec, plugin, context);
}

function containerOf({ container }: DraDriver): V1Container {
  const own = container.env ?? [];
  const preset = [...environment, { name: portVariable, value: defaultPort }].filter(
    // The API server refuses to apply two of one name; a container would have the last.
    ({ name }) => !own.some((one) => one.name === name),
  );
  const port = own.find(({ name }) => name === portVariable)?.value ?? defaultPort;
  const livenessProbe = probeOf(Number(port));
  return Object.assign(
    privileged(pluginContainer('dra', container)),
    {
      env: [...preset, ...own],
      volumeMounts: [
        ...volumes.map(({ name, hostPath }) => ({ name, mountPath: hostPath?.path ?? '' })),
        ...(container.volumeMounts ?? []),
      ],
    },
    livenessProbe === undefined ? {} : { livenessProbe },
    probesOf(container),
  );
}

/** Drivers share the node's network: two on one node need ports of their own, and without one there is no probe. */
function probeOf(port: number): V1Probe | undefined {
  if (!Number.isInteger(port) || port < 1 || port > maxPort) return undefined;
  return {
    grpc: { port, service: 'liveness' },
    initialDelaySeconds: 30,
    periodSeconds: 10,
    timeoutSeconds: 5,
    failureThreshold: 3,
  };
}

function privileged(container: V1Container): V1Container {
  return Object.assign(container, { securityContext: { privileged: true } });
}
