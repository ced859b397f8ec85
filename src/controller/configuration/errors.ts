import { KmmError } from '../../shared/errors.ts';

/** Why the operator cannot start as it was told to. */
export type ConfigurationErrorCode =
  /** A key, a value or an environment variable makes no sense. */
  'INVALID_OPERATOR_CONFIGURATION';

/** An error about the operator's configuration. `facts.problems` holds one sentence for each thing that is wrong. */
export class ConfigurationError extends KmmError<ConfigurationErrorCode> {
  override readonly name = 'ConfigurationError';
}

/** The error that names all problems of one source, such as the configuration file. */
export function configurationError(source: string, problems: readonly string[]): ConfigurationError {
  return new ConfigurationError({
    code: 'INVALID_OPERATOR_CONFIGURATION',
    message: `${source} is not valid: ${problems.join('; ')}`,
    hint: 'See docs/operator-configuration.md.',
    facts: { source, problems },
  });
}
