import { KmmError } from '../../../shared/errors.ts';

/** Why a Module gives nothing for a kernel. */
export type MappingErrorCode =
  /** No mapping matches: the kernel's nodes are not meant. */
  | 'NO_MAPPING'
  /** A regular expression that cannot be compiled. */
  | 'INVALID_EXPRESSION'
  /** A text with variables that cannot be expanded. */
  | 'INVALID_TEMPLATE'
  /** Neither the mapping nor the container says it. */
  | 'INCOMPLETE_MAPPING'
  /** Two mappings want different things of one image. */
  | 'CONFLICTING_MAPPINGS';

/** An error of kernel mapping. It concerns one Module and one kernel; others go on. */
export class MappingError extends KmmError<MappingErrorCode> {
  override readonly name = 'MappingError';
}
