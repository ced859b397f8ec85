import type { Build, PodTemplate, RegistryTls, Sign } from '../../../api/module/build-and-sign.ts';
import type { KernelMapping } from '../../../api/module/kernel-mapping.ts';
import type { ModuleLoaderContainer } from '../../../api/module/spec.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';

/**
 * Returns the TLS settings of a mapping if it sets any, else those of the container. Fields are not merged: a
 * mapping that says how to connect must not inherit a permission that it does not name. An empty object counts
 * as absent, since Go clients write one for a field that is not set.
 */
function pickTls(container: RegistryTls | undefined, mapping: RegistryTls | undefined): RegistryTls {
  return Object.keys(defined(mapping)).length > 0 ? defined(mapping) : defined(container);
}

/** Merges build settings: lists are joined; for single values the mapping takes precedence. */
export function mergeBuild(container: Build | undefined, mapping: Build | undefined): Build | undefined {
  if (container === undefined || mapping === undefined) return mapping ?? container;
  const replaced = new Set(mapping.buildArgs?.map(({ name }) => name));
  return {
    dockerfileConfigMap: named(mapping.dockerfileConfigMap) ?? container.dockerfileConfigMap,
    buildArgs: [
      ...(container.buildArgs ?? []).filter(({ name }) => !replaced.has(name)),
      ...(mapping.buildArgs ?? []),
    ],
    secrets: distinctNames([...(container.secrets ?? []), ...(mapping.secrets ?? [])]).map((name) => ({
      name,
    })),
    baseImageRegistryTLS: pickTls(container.baseImageRegistryTLS, mapping.baseImageRegistryTLS),
    selector: mapping.selector ?? container.selector,
    kanikoParams: { tag: nonEmpty(mapping.kanikoParams?.tag) ?? container.kanikoParams?.tag },
    podTemplate: mergePodTemplate(container.podTemplate, mapping.podTemplate),
  };
}

/** Merges sign settings: lists are joined; for single values the mapping takes precedence. */
export function mergeSign(container: Sign | undefined, mapping: Sign | undefined): Sign | undefined {
  if (container === undefined || mapping === undefined) return mapping ?? container;
  return {
    unsignedImage: nonEmpty(mapping.unsignedImage) ?? container.unsignedImage,
    unsignedImageRegistryTLS: pickTls(container.unsignedImageRegistryTLS, mapping.unsignedImageRegistryTLS),
    keySecret: named(mapping.keySecret) ?? container.keySecret,
    certSecret: named(mapping.certSecret) ?? container.certSecret,
    filesToSign: [...new Set([...(container.filesToSign ?? []), ...(mapping.filesToSign ?? [])])],
    podTemplate: mergePodTemplate(container.podTemplate, mapping.podTemplate),
  };
}

/** Returns the in-tree modules to unload: the mapping's if it names any, else the container's. */
export function mergeInTreeModules(
  container: ModuleLoaderContainer,
  mapping: KernelMapping,
): readonly string[] {
  const one = nonEmpty(mapping.inTreeModuleToRemove) ?? nonEmpty(container.inTreeModuleToRemove);
  if (one !== undefined) return [one];
  return mapping.inTreeModulesToRemove ?? container.inTreeModulesToRemove ?? [];
}

function mergePodTemplate(
  container: PodTemplate | undefined,
  mapping: PodTemplate | undefined,
): PodTemplate | undefined {
  if (container === undefined || mapping === undefined) return mapping ?? container;
  return {
    ...container,
    ...defined(mapping),
    labels: { ...container.labels, ...mapping.labels },
    annotations: { ...container.annotations, ...mapping.annotations },
    nodeSelector: { ...container.nodeSelector, ...mapping.nodeSelector },
    tolerations: [...(container.tolerations ?? []), ...(mapping.tolerations ?? [])],
  };
}

/** Returns a reference if it has a name. */
function named<T extends { readonly name?: string }>(reference: T | undefined): T | undefined {
  return nonEmpty(reference?.name) === undefined ? undefined : reference;
}

/** Returns the fields that are set. */
function defined<T extends object>(value: T | undefined): Partial<T> {
  return Object.fromEntries(
    Object.entries(value ?? {}).filter(([, field]) => field !== undefined),
  ) as Partial<T>;
}

function distinctNames(references: readonly { readonly name?: string }[]): string[] {
  return [...new Set(references.flatMap(({ name }) => nonEmpty(name) ?? []))];
}
