import type { ManagedClusterModule } from '../managed-cluster-module.ts';
import type { Modprobe } from '../module/modprobe.ts';
import type { ModuleSpec } from '../module/spec.ts';
import { nonEmpty, type Findings, type Violation, mergeFindings } from '../schema/resource.ts';
import { checkKernelMappings } from './kernel-mappings.ts';
import { checkOperands, checkTolerations } from './pods.ts';

/**
 * Limit on name and namespace together: the labels that administrators set for ordered upgrades contain both,
 * with prefix and dots.
 */
const maxVersionedNameLength = 40;

/**
 * Checks what the schema cannot express about a Module, with the rules of KMM's webhook.
 * @param previous the spec before the update
 * @param path path of the spec in its resource
 */
export function checkModuleSpec(
  spec: ModuleSpec,
  { name, namespace = '' }: { readonly name: string; readonly namespace?: string | undefined },
  previous?: ModuleSpec,
  path = 'spec',
): Findings {
  const container = spec.moduleLoader?.container;
  const at = `${path}.moduleLoader.container`;
  return mergeFindings(
    container === undefined ? { errors: [], warnings: [] } : checkKernelMappings(container, at),
    {
      errors: [
        ...(container === undefined ? [] : checkModprobe(container.modprobe, `${at}.modprobe`)),
        ...(versionOf(spec) === undefined ? [] : checkVersionedName(name, namespace, `${at}.version`)),
        ...(previous === undefined ? [] : checkVersionChange(spec, previous, `${at}.version`)),
        ...checkTolerations(spec.tolerations ?? [], `${path}.tolerations`),
        ...checkOperands(spec, path),
      ],
      warnings: [],
    },
  );
}

/** Checks the Module of a ManagedClusterModule as the selected clusters would receive it. */
export function checkManagedClusterModule(
  resource: ManagedClusterModule,
  previous?: ManagedClusterModule,
): Findings {
  return checkModuleSpec(
    resource.spec.moduleSpec,
    { name: resource.metadata.name, namespace: resource.spec.spokeNamespace },
    previous?.spec.moduleSpec,
    'spec.moduleSpec',
  );
}

function versionOf(spec: ModuleSpec): string | undefined {
  return nonEmpty(spec.moduleLoader?.container.version);
}

function checkVersionedName(name: string, namespace: string, path: string): Violation[] {
  const length = name.length + namespace.length;
  const tooLong = `when version is set, name and namespace together may have ${maxVersionedNameLength} characters, not ${length}`;
  return [
    ...(length > maxVersionedNameLength ? [{ path, message: tooLong }] : []),
    // Its labels would be read as those of the Module without this ending.
    ...(name.endsWith('.version')
      ? [{ path, message: 'when version is set, the name must not end in .version' }]
      : []),
  ];
}

function checkVersionChange(spec: ModuleSpec, previous: ModuleSpec, path: string): Violation[] {
  if (spec.moduleLoader === undefined || previous.moduleLoader === undefined) return [];
  if ((versionOf(spec) === undefined) === (versionOf(previous) === undefined)) return [];
  return [
    {
      path,
      message: 'cannot update to or from an empty version; please delete the Module and create it again',
    },
  ];
}

/** Checks the modprobe settings. */
function checkModprobe(modprobe: Modprobe, path: string): Violation[] {
  const { rawArgs } = modprobe;
  const isNamed = nonEmpty(modprobe.moduleName) !== undefined;
  const found: Violation[] = [];
  if (isNamed && (rawArgs?.load !== undefined || rawArgs?.unload !== undefined)) {
    found.push({ path: `${path}.rawArgs`, message: 'rawArgs cannot be set when moduleName is set' });
  }
  if (!isNamed && (rawArgs?.load === undefined || rawArgs.unload === undefined)) {
    found.push({
      path: `${path}.rawArgs`,
      message: 'load and unload rawArgs must be set when moduleName is unset',
    });
  }
  const { modprobedDir } = modprobe;
  if (nonEmpty(modprobedDir) !== undefined && !isAbsolutePath(modprobedDir ?? '')) {
    const message = `${JSON.stringify(modprobedDir)} must be an absolute path, without . or .. in it`;
    found.push({ path: `${path}.modprobedDir`, message });
  }
  return [...found, ...checkLoadingOrder(modprobe, `${path}.modulesLoadingOrder`)];
}

function isAbsolutePath(path: string): boolean {
  return /^\/[^\0]+$/.test(path) && !path.split('/').some((part) => part === '.' || part === '..');
}

function checkLoadingOrder({ moduleName, modulesLoadingOrder }: Modprobe, path: string): Violation[] {
  const order = modulesLoadingOrder ?? [];
  if (order.length === 0) return [];
  const found: Violation[] = [];
  if (order.length === 1) {
    found.push({ path, message: 'if a loading order is defined, at least two values must be defined' });
  }
  if (nonEmpty(moduleName) === undefined) {
    found.push({ path, message: 'if a loading order is defined, moduleName must be set' });
  } else if (order[0] !== moduleName) {
    found.push({ path, message: 'if a loading order is defined, the first element must be moduleName' });
  }
  for (const name of new Set(order.filter((entry, index) => order.indexOf(entry) !== index))) {
    found.push({ path, message: `${JSON.stringify(name)}: duplicate value in the loading order list` });
  }
  return found;
}
