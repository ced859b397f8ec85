import { RegistryError } from '../errors.ts';
import { redactedUrl } from './redacted-url.ts';

/** What a failed connection is called, and what to do about it. */
interface Explanation {
  readonly problem: string;
  readonly hint?: string;
}

const plainHttpServer: Explanation = {
  problem: 'the server does not speak TLS',
  hint: 'If the registry is served without TLS, use --plain-http.',
};
const unknownAuthority: Explanation = {
  problem: 'its certificate is not signed by an authority that is trusted here',
  hint: "Give the authority's certificate with --ca-file.",
};

const explanations: Readonly<Record<string, Explanation>> = {
  ECONNREFUSED: {
    problem: 'the connection was refused',
    hint: 'Check the host and port, and that the registry runs.',
  },
  ECONNRESET: { problem: 'the connection was broken' },
  EPIPE: { problem: 'the connection was broken' },
  ENOTFOUND: { problem: 'the host name does not exist', hint: 'Check the spelling of the registry.' },
  EAI_AGAIN: { problem: 'the host name cannot be resolved at present' },
  EHOSTUNREACH: { problem: 'there is no way to the host' },
  ENETUNREACH: { problem: 'there is no way to the network' },
  ETIMEDOUT: { problem: 'it did not answer in time' },
  ERR_HTTP_CONTENT_LENGTH_MISMATCH: { problem: 'the answer ended before it was complete' },
  EPROTO: plainHttpServer,
  ERR_SSL_WRONG_VERSION_NUMBER: plainHttpServer,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: plainHttpServer,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  CERT_HAS_EXPIRED: { problem: 'its certificate has expired' },
  ERR_TLS_CERT_ALTNAME_INVALID: { problem: 'its certificate is for another host name' },
};

/** Codes of a TLS client that got an answer which is not TLS. */
const notTls = new Set(['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG']);

/** Failures that another try does not mend. */
const lasting = new Set([
  ...notTls,
  ...Object.entries(explanations).flatMap(([code, explanation]) =>
    explanation === unknownAuthority ? [code] : [],
  ),
  'CERT_HAS_EXPIRED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'ENOTFOUND',
]);

/** The part of a system or HTTP library error that may be shown. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return 'UNKNOWN';
  return typeof error.code === 'string' && /^[A-Z0-9_]{1,60}$/.test(error.code) ? error.code : 'UNKNOWN';
}

/**
 * Makes the error for a request that got no complete answer. Nothing of the original error but its code
 * is kept: HTTP libraries hang headers, and so tokens, on theirs.
 */
export function networkError(url: URL, error: unknown): RegistryError {
  const code = codeOf(error);
  const { problem, hint } = explanations[code] ?? { problem: `the request failed (${code})` };
  return new RegistryError({
    code: 'NETWORK',
    message: `Cannot talk to ${url.host}: ${problem}`,
    hint,
    facts: { url: redactedUrl(url), reason: code },
  });
}

/** Tells whether a server answered a TLS handshake in plain text. */
export function isPlainTextAnswer(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'NETWORK' && notTls.has(String(error.facts.reason));
}

/** Tells whether another try may help. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof RegistryError && error.code === 'NETWORK' && !lasting.has(String(error.facts.reason))
  );
}
