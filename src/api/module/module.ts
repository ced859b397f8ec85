import * as z from 'zod';
import { objectMeta, parseResource, type ResourceKind } from '../schema/resource.ts';
import { moduleSpec } from './spec.ts';
import { moduleStatus } from './status.ts';

/** The group, version and kind of Module. */
export const moduleKind = {
  group: 'kmm.sigs.x-k8s.io',
  version: 'v1beta1',
  kind: 'Module',
} as const satisfies ResourceKind;

/** A kernel module for the nodes of this cluster. */
export const moduleResource = z.object({
  apiVersion: z.literal('kmm.sigs.x-k8s.io/v1beta1'),
  kind: z.literal('Module'),
  metadata: objectMeta,
  spec: moduleSpec,
  // Only we write it; an unreadable status counts as absent and is rewritten.
  status: moduleStatus.optional().catch(undefined),
});

/** A kernel module for the nodes of this cluster. */
export type Module = z.output<typeof moduleResource>;

/** Parses a Module. @throws ResourceError INVALID_RESOURCE */
export function parseModule(value: unknown): Module {
  return parseResource(moduleResource, moduleKind.kind, value);
}
