import * as z from 'zod';
import { ResourceError, formatPath, formatViolation } from './violation.ts';

/** The fields of Kubernetes' ObjectMeta that are used. Other fields are kept. */
export const objectMeta = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string().optional(),
  generation: z.int().optional(),
  resourceVersion: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  deletionTimestamp: z.string().optional(),
  finalizers: z.array(z.string()).optional(),
});

/** Identifies a version of a custom resource. */
export interface ResourceKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/**
 * Parses an object as a resource of a kind. Nulls count as absent: the API server drops them too, and Go
 * clients write them for empty fields. Unknown fields are dropped, missing ones get their defaults.
 * @throws ResourceError INVALID_RESOURCE that names every invalid field
 */
export function parseResource<T extends z.ZodType>(schema: T, kind: string, value: unknown): z.output<T> {
  const result = schema.safeParse(withoutNulls(value));
  if (result.success) return result.data;
  const violations = result.error.issues.map(({ path, message }) =>
    formatViolation({ path: formatPath(path), message }),
  );
  throw new ResourceError({
    code: 'INVALID_RESOURCE',
    message: `This is not a valid ${kind}: ${violations.join('; ')}`,
    hint: `See kubectl explain ${kind.toLowerCase()}.`,
    facts: { kind, violations },
  });
}

/** Returns a copy without properties that are null. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, property]) => property !== null)
      .map(([name, property]) => [name, withoutNulls(property)]),
  );
}

/** Returns undefined for an empty string, which Go clients may write for "not set". */
export function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
