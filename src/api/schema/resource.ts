import * as z from 'zod';
import { ResourceError, formatPath, formatViolation } from './violation.ts';

/** What of Kubernetes' ObjectMeta is used. Other fields are kept. */
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

/** Names a version of a custom resource. */
export interface ResourceKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/**
 * Reads an object as a resource of a kind. Nulls count as absent: the API server drops them too, and
 * Go clients write them for empty fields. Unknown fields are dropped, missing ones get their defaults.
 * @throws ResourceError INVALID_RESOURCE that names every field that is wrong
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

/** A copy in which no property is null. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, property]) => property !== null)
      .map(([name, property]) => [name, withoutNulls(property)]),
  );
}

/** A string that Go clients may have written empty for "not set". */
export function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
