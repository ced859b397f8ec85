import { ModuleIndex } from '../../../../src/controller/module/labels/pods-by-module.ts';
import type { PodFacts } from '../../../../src/controller/observe/cluster/projections.ts';

export const release = '6.1.0-18-amd64';
export const kernelKey = 'kmm.node.kubernetes.io/kernel-version.full';

export interface PodOptions {
  readonly role?: string;
  readonly namespace?: string;
  readonly module?: string;
  readonly kernel?: string;
  readonly version?: string;
  readonly mode?: 'load' | 'unload';
  readonly facts?: Partial<PodFacts>;
}

/** Labels as the DaemonSets give them to their pods. */
export function podLabels(options: PodOptions): Record<string, string> {
  const {
    role = 'module-loader',
    namespace = 'drivers',
    module = 'a',
    kernel = release,
    version,
    mode,
  } = options;
  const isLoader = role === 'module-loader';
  const key = `beta.kmm.node.kubernetes.io/version-${role}.${namespace}.${module}`;
  return {
    'kmm.node.kubernetes.io/module.name': module,
    'kmm.node.kubernetes.io/role': role,
    ...(isLoader ? { [kernelKey]: kernel } : {}),
    ...(version === undefined ? {} : { [key]: version }),
    ...(mode === undefined ? {} : { 'kmm.node.kubernetes.io/loader-mode': mode }),
  };
}

/** A pod that is ready, of a module loader of drivers/a. */
export function pod(options: PodOptions = {}): PodFacts {
  const { role = 'module-loader', namespace = 'drivers', module = 'a', facts } = options;
  return {
    key: { namespace, name: `${role}-${module}` },
    uid: 'uid',
    nodeName: 'node',
    labels: podLabels(options),
    ownerName: 'daemon-set',
    ownerUid: 'uid',
    resourceVersion: '1',
    finalizers: [],
    images: [],
    startedAt: undefined,
    ready: true,
    phase: 'Running',
    deleting: false,
    waiting: undefined,
    terminated: undefined,
    targetNode: 'node',
    failure: undefined,
    ...facts,
  };
}

/** Knows the Modules `NAMESPACE/NAME`. */
export function indexOf(...names: readonly string[]): ModuleIndex {
  const index = new ModuleIndex();
  for (const text of names) {
    const [namespace = '', name = ''] = text.split('/');
    index.add({ namespace, name });
  }
  return index;
}

/** What a merge patch makes of labels (RFC 7396). */
export function merge(
  labels: Readonly<Record<string, string>>,
  patch: Readonly<Record<string, string | null>>,
): Record<string, string> {
  const merged: Record<string, string> = {};
  for (const [key, value] of Object.entries({ ...labels, ...patch })) if (value !== null) merged[key] = value;
  return merged;
}
