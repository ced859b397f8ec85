import { KmmError } from '../../shared/errors.ts';

/** Why a custom resource was rejected. */
export type ResourceErrorCode =
  /** The object does not have the form that its kind requires, or violates a rule. */
  'INVALID_RESOURCE';

/** An error about a custom resource. `facts.violations` holds one sentence for each violation. */
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
