import * as z from 'zod';
import { KmmError } from '../../shared/errors.ts';

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

/** Why a custom resource was rejected. */
export type ResourceErrorCode =
  /** The object does not have the form that its kind requires, or violates a rule. */
  'INVALID_RESOURCE';

/** An error about a custom resource. `facts.violations` has one sentence for each violation. */
export class ResourceError extends KmmError<ResourceErrorCode> {
  override readonly name = 'ResourceError';
}

/** One violation in a resource, and where it is. */
export interface Violation {
  /** Path of the field, such as `spec.moduleLoader.container.kernelMappings[0].regexp`. */
  readonly path: string;
  readonly message: string;
}

/** The result of checking a resource. Errors reject it; warnings are shown to the user who applies it. */
export interface Findings {
  readonly errors: readonly Violation[];
  readonly warnings: readonly Violation[];
}

/** Merges findings, in order. */
export function mergeFindings(...all: readonly Findings[]): Findings {
  return {
    errors: all.flatMap(({ errors }) => errors),
    warnings: all.flatMap(({ warnings }) => warnings),
  };
}

/** Formats a path as kubectl does: `a.b[0].c`. */
export function formatPath(parts: readonly PropertyKey[]): string {
  return parts
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
}

/** Maximum number of violations in a summary. */
const maxSummarized = 10;

/** Formats violations as one text of limited length. */
export function summarizeViolations(violations: readonly Violation[]): string {
  const named = violations.slice(0, maxSummarized).map(formatViolation);
  const more = violations.length - named.length;
  return [...named, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

/** Formats a violation as one sentence. */
export function formatViolation({ path, message }: Violation): string {
  return `${path}: ${message}`;
}
