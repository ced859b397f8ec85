import type { Logger } from '../../shared/log.ts';
import { RegistryError } from '../model/errors.ts';
import type { RetryListener } from './retry.ts';

/** Logs that transfers are tried again: the first as a warning, so that nobody wonders about the wait. */
export function announceRetries(logger: Logger, repository: string): RetryListener {
  let warned = false;
  return (error, milliseconds) => {
    const level = warned ? 'debug' : 'warn';
    warned = true;
    const { status, reason } = error instanceof RegistryError ? error.facts : {};
    logger[level]('Trying a transfer again', { repository, reason: status ?? reason, milliseconds });
  };
}
