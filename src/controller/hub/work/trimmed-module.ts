import type { ManagedClusterModule } from '../../../api/managed-cluster-module.ts';
import type { KernelMapping } from '../../../api/module/kernel-mapping.ts';
import { moduleKind } from '../../../api/module/module.ts';
import type { ModuleLoaderContainer, ModuleSpec } from '../../../api/module/spec.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import { withDigest } from '../../../builder/image-names.ts';
import type { ModuleTarget } from '../../../builder/target.ts';
import { spokeModuleName } from '../images/desired-images.ts';

/** The image for nodes with a certain kernel. */
export interface KernelImage {
  readonly target: ModuleTarget;
  /** Of the built, signed and verified image, such as `sha256:…`. */
  readonly digest: string;
}

/** A Module as a cluster gets it. */
export interface TrimmedModule {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: ModuleSpec;
}

/**
 * Returns the Module for a cluster: without build and sign, with one literal mapping for each of the
 * cluster's kernels that names the image by digest. The other mappings follow unchanged; the first match
 * wins, so they only concern kernels that the cluster does not have yet.
 */
export function trimmedModule(resource: ManagedClusterModule, images: readonly KernelImage[]): TrimmedModule {
  const { moduleLoader, imageRebuildTriggerGeneration: _hubOnly, ...rest } = resource.spec.moduleSpec;
  return {
    apiVersion: `${moduleKind.group}/${moduleKind.version}`,
    kind: moduleKind.kind,
    metadata: { ...spokeModuleName(resource) },
    spec: {
      ...rest,
      ...(moduleLoader === undefined
        ? {}
        : { moduleLoader: { ...moduleLoader, container: trimmedContainer(moduleLoader.container, images) } }),
    },
  };
}

function trimmedContainer(
  container: ModuleLoaderContainer,
  images: readonly KernelImage[],
): ModuleLoaderContainer {
  const { build: _build, sign: _sign, containerImage, ...rest } = container;
  const resolved = images
    .toSorted((a, b) => comparePlaces(a.target, b.target))
    .map((image) => resolvedMapping(container, image));
  const literals = new Set<string | undefined>(resolved.map(({ literal }) => literal));
  const unresolved = container.kernelMappings
    .filter((mapping) => nonEmpty(mapping.regexp) !== undefined || !literals.has(mapping.literal))
    // KMM's definition requires an image in every mapping.
    .map((mapping) => ({
      ...trimmedMapping(mapping),
      containerImage: nonEmpty(mapping.containerImage) ?? containerImage,
    }));
  const kernelMappings = [...resolved, ...unresolved];
  return { ...rest, kernelMappings };
}

/**
 * Compares the places of mappings. A literal matches a kernel as `uname -r` prints it, and without a trailing
 * `+`. `1+` comes first, so that the kernels `1` and `1+` of one cluster each match their own.
 */
function comparePlaces({ kernel: a }: ModuleTarget, { kernel: b }: ModuleTarget): number {
  const rank = Number(a.release === a.version) - Number(b.release === b.version);
  return rank === 0 ? (a.release < b.release ? -1 : 1) : rank;
}

function resolvedMapping(
  container: ModuleLoaderContainer,
  { target, digest }: KernelImage,
): KernelMapping & { readonly literal: string } {
  const {
    literal: _literal,
    regexp: _regexp,
    ...rest
  } = trimmedMapping(container.kernelMappings[target.mapping] ?? {});
  return { literal: target.kernel.release, ...rest, containerImage: withDigest(target.image, digest) };
}

function trimmedMapping({ build: _build, sign: _sign, ...rest }: KernelMapping): KernelMapping {
  return rest;
}
