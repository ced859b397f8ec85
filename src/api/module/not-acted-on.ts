import type { ModuleSpec } from './spec.ts';

/** A field that is accepted but has no effect, and why. */
export interface FieldNotActedOn {
  readonly path: string;
  readonly reason: string;
  /** Returns whether a Module uses it. */
  isUsed(spec: ModuleSpec, facts: FieldFacts): boolean;
}

/** What the effect of fields depends on apart from the Module. */
export interface FieldFacts {
  readonly builder: 'kaniko' | 'buildah';
}

/** Every field that has no effect, for the documentation and for a condition on the Modules that use it. */
export const fieldsNotActedOn: readonly FieldNotActedOn[] = [
  {
    path: 'spec.dra',
    reason: 'DRA drivers are not deployed yet',
    isUsed: (spec) => spec.dra !== undefined,
  },
  {
    path: 'spec.moduleLoader.container.build.kanikoParams',
    reason: 'images are built with Buildah here, which has no such settings',
    isUsed: (spec, { builder }) => builder !== 'kaniko' && usesKanikoParams(spec),
  },
];

/** Returns the fields of a Module that have no effect. */
export function findFieldsNotActedOn(spec: ModuleSpec, facts: FieldFacts): FieldNotActedOn[] {
  return fieldsNotActedOn.filter((field) => field.isUsed(spec, facts));
}

function usesKanikoParams(spec: ModuleSpec): boolean {
  const container = spec.moduleLoader?.container;
  const levels = [container, ...(container?.kernelMappings ?? [])];
  return levels.some((level) => level?.build?.kanikoParams?.tag !== undefined);
}
