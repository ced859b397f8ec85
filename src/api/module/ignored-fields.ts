import type { ModuleSpec, OperandContainer } from './spec.ts';

/** What builds images: the effect of fields depends on it. */
type Builder = 'kaniko' | 'buildah';

/** A field that is accepted but has no effect, and why. */
export interface IgnoredField {
  readonly path: string;
  readonly reason: string;
  /** Returns whether a Module uses it. */
  isUsed(spec: ModuleSpec, builder: Builder): boolean;
}

/** Every field that has no effect, for the documentation and for a condition on the Modules that use it. */
export const ignoredFields: readonly IgnoredField[] = [
  {
    path: 'spec.moduleLoader.container.build.kanikoParams',
    reason: 'images are built with Buildah here, which has no such settings',
    isUsed: (spec, builder) => builder !== 'kaniko' && usesKanikoParams(spec),
  },
  ...(['devicePlugin', 'dra'] as const).map((operand) => ({
    path: `spec.${operand}.initContainer`,
    reason: 'Kubernetes has no probes for such containers, so startupProbe and livenessProbe are left out',
    isUsed: (spec: ModuleSpec) => hasProbes(spec[operand]?.initContainer),
  })),
];

function hasProbes(container: OperandContainer | undefined): boolean {
  return container?.startupProbe !== undefined || container?.livenessProbe !== undefined;
}

/** Returns the fields of a Module that have no effect. */
export function findIgnoredFields(spec: ModuleSpec, builder: Builder): IgnoredField[] {
  return ignoredFields.filter((field) => field.isUsed(spec, builder));
}

function usesKanikoParams(spec: ModuleSpec): boolean {
  const container = spec.moduleLoader?.container;
  const levels = [container, ...(container?.kernelMappings ?? [])];
  return levels.some((level) => level?.build?.kanikoParams?.tag !== undefined);
}
