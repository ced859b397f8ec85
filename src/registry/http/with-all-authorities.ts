import type { Agents } from './agents.ts';
import { isCertificateFailure } from './network-error.ts';
import type { Transport } from './transport.ts';

/**
 * Sends a request again, trusting all authorities, if the server's certificate was refused for want of one: nothing has
 * been sent to the server then, and a streamed body is reopened. Whatever is trusted at first is trusted then, too, so
 * that no server is reached that would not have been with all authorities from the start.
 */
export function withAllAuthorities(
  inner: Transport,
  agents: Pick<Agents, 'trustsAll' | 'trustAll'>,
): Transport {
  return async (request) => {
    const trustedAll = agents.trustsAll();
    try {
      return await inner(request);
    } catch (error) {
      if (trustedAll || !isCertificateFailure(error)) throw error;
      agents.trustAll();
      return inner(request);
    }
  };
}
