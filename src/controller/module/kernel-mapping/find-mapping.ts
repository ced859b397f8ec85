import type { KernelMapping } from '../../../api/module/kernel-mapping.ts';
import { compileRegularExpression } from '../../../api/schema/regular-expression.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import type { Kernel } from '../../../builder/kernel.ts';
import { MappingError } from './errors.ts';

/** A mapping and its place in the list. */
export interface FoundMapping {
  readonly index: number;
  readonly mapping: KernelMapping;
}

/**
 * Finds the first mapping that matches a kernel, with or without its trailing `+`. Expressions match
 * anywhere.
 * @returns undefined if none does
 * @throws MappingError INVALID_EXPRESSION if one that cannot be compiled is reached
 */
export function findMapping(mappings: readonly KernelMapping[], kernel: Kernel): FoundMapping | undefined {
  const index = mappings.findIndex((mapping, position) => matches(mapping, position, kernel));
  const mapping = mappings[index];
  return mapping === undefined ? undefined : { index, mapping };
}

function matches({ literal, regexp }: KernelMapping, index: number, kernel: Kernel): boolean {
  const spellings = [kernel.version, kernel.release];
  if (nonEmpty(literal) !== undefined && spellings.some((spelling) => spelling === literal)) return true;
  const expression = nonEmpty(regexp);
  if (expression === undefined) return false;
  const compiled = compileRegularExpression(expression);
  if (!(compiled instanceof Error)) return spellings.some((spelling) => compiled.test(spelling));
  throw new MappingError({
    code: 'INVALID_EXPRESSION',
    message: `kernelMappings[${index}].regexp ${JSON.stringify(expression)} is not a regular expression: ${compiled.message}`,
    hint: 'The syntax is RE2, as in Go.',
    facts: { mapping: index },
  });
}

/** A mapping that has no effect in this cluster. */
export interface IdleMapping {
  readonly index: number;
  /** It matches no kernel, or every kernel that it matches is taken by an earlier mapping. */
  readonly reason: 'MatchesNoKernel' | 'Shadowed';
  /** One sentence. */
  readonly message: string;
}

/** Finds the mappings that apply to none of the kernels that nodes run. Without kernels it finds none. */
export function findIdleMappings(
  mappings: readonly KernelMapping[],
  kernels: readonly Kernel[],
): IdleMapping[] {
  if (kernels.length === 0) return [];
  const used = new Set(kernels.map((kernel) => firstMatch(mappings, kernel)));
  return [...mappings.entries()]
    .filter(([index]) => !used.has(index))
    .map(([index, mapping]) => {
      const expression = JSON.stringify(nonEmpty(mapping.regexp) ?? mapping.literal ?? '');
      const isShadowed = kernels.some((kernel) => matchesQuietly(mapping, index, kernel));
      return {
        index,
        reason: isShadowed ? 'Shadowed' : 'MatchesNoKernel',
        message: isShadowed
          ? `kernelMappings[${index}] ${expression} only matches kernels that an earlier mapping takes`
          : `kernelMappings[${index}] ${expression} matches the kernel of no node`,
      };
    });
}

function firstMatch(mappings: readonly KernelMapping[], kernel: Kernel): number {
  return mappings.findIndex((mapping, index) => matchesQuietly(mapping, index, kernel));
}

/** Like `matches`, but an invalid expression matches nothing: the error is reported where it matters. */
function matchesQuietly(mapping: KernelMapping, index: number, kernel: Kernel): boolean {
  try {
    return matches(mapping, index, kernel);
  } catch (error) {
    if (error instanceof MappingError) return false;
    throw error;
  }
}
