import { KmmError } from '../../../shared/errors.ts';

/** Why a Module has no target for a kernel. */
export type MappingErrorCode =
  /** No mapping matches: the Module does not apply to nodes with this kernel. */
  | 'NO_MAPPING'
  /** A regular expression cannot be compiled. */
  | 'INVALID_EXPRESSION'
  /** A text with variables cannot be expanded. */
  | 'INVALID_TEMPLATE'
  /** Neither the mapping nor the container has a required field. */
  | 'INCOMPLETE_MAPPING'
  /** Two mappings want different things of one image. */
  | 'CONFLICTING_MAPPINGS';

/** An error in mapping a kernel. It concerns one Module and one kernel, and does not affect others. */
export class MappingError extends KmmError<MappingErrorCode> {
  override readonly name = 'MappingError';
}
