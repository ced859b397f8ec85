import { KmmError } from '../../shared/errors.ts';

/** Why the operator cannot start with its configuration. */
export type ConfigurationErrorCode =
  /** A key, a value or an environment variable is invalid. */
  'INVALID_OPERATOR_CONFIGURATION';

/** An error in the operator's configuration. `facts.problems` has one sentence per problem. */
export class ConfigurationError extends KmmError<ConfigurationErrorCode> {
  override readonly name = 'ConfigurationError';
}

/** Creates the error that names all problems of one source, such as the configuration file. */
export function configurationError(source: string, problems: readonly string[]): ConfigurationError {
  return new ConfigurationError({
    code: 'INVALID_OPERATOR_CONFIGURATION',
    message: `${source} is not valid: ${problems.join('; ')}`,
    hint: 'See docs/operator-configuration.md.',
    facts: { source, problems },
  });
}
