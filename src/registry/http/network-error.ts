import { RegistryError } from '../model/errors.ts';
import { redactedUrl, unsafeAddressCode } from './address.ts';

/** How a failed connection is described, and what to do about it. */
interface Explanation {
  readonly problem: string;
  readonly hint?: string;
  /** Whether a retry would fail in the same way. */
  readonly lasting?: true;
}

const broken: Explanation = { problem: 'the connection was broken' };
const notTls: Explanation = {
  problem: 'the server does not use TLS',
  hint: 'If the registry is served without TLS, use --plain-http.',
  lasting: true,
};
const unknownAuthority: Explanation = {
  problem: 'its certificate is not signed by an authority that is trusted here',
  hint: "Provide the authority's certificate with --ca-file.",
  lasting: true,
};
const tlsFailure: Explanation = { problem: 'the TLS handshake failed', lasting: true };

const explanations: Readonly<Record<string, Explanation>> = {
  ECONNREFUSED: {
    problem: 'the connection was refused',
    hint: 'Check the host and port, and that the registry is running.',
  },
  ECONNRESET: broken,
  EPIPE: broken,
  ENOTFOUND: {
    problem: 'the host name does not exist',
    hint: 'Check the spelling of the registry.',
    lasting: true,
  },
  EAI_AGAIN: { problem: 'the host name cannot be resolved at the moment' },
  EHOSTUNREACH: { problem: 'no route to host' },
  ENETUNREACH: { problem: 'network is unreachable' },
  ETIMEDOUT: { problem: 'it timed out' },
  ERR_HTTP_CONTENT_LENGTH_MISMATCH: { problem: 'the response ended early' },
  ERR_PROXY_TUNNEL: { problem: 'the proxy refused the connection', hint: 'Check HTTPS_PROXY and NO_PROXY.' },
  [unsafeAddressCode]: {
    problem: 'its name resolves to this machine or to a link-local address',
    hint: "The registry or its token server refers to it; ask the registry's administrator about its external URL.",
    lasting: true,
  },
  EPROTO: tlsFailure,
  ERR_SSL_WRONG_VERSION_NUMBER: notTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: notTls,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: {
    problem: 'it requires a client certificate',
    hint: 'Provide one with --cert-file and --key-file.',
    lasting: true,
  },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  CERT_HAS_EXPIRED: { problem: 'its certificate has expired', lasting: true },
  ERR_TLS_CERT_ALTNAME_INVALID: { problem: 'its certificate is for another host name', lasting: true },
};

function explain(code: string): Explanation {
  const known = explanations[code];
  if (known !== undefined) return known;
  if (code.startsWith('ERR_SSL_')) return { ...tlsFailure, problem: `the TLS handshake failed (${code})` };
  if (code.startsWith('HPE_')) return { problem: `its response is not HTTP (${code})` };
  return { problem: `the request failed (${code})` };
}

/** Returns the part of a system or HTTP library error that may be shown. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return 'UNKNOWN';
  const { code } = error;
  if (typeof code !== 'string' || !/^[A-Z0-9_]{1,60}$/.test(code)) return 'UNKNOWN';
  // OpenSSL's reason becomes the code only if nothing was being written at the time.
  const reason = 'message' in error ? String(error.message) : '';
  const isRecordError = /wrong version number|packet length too long/.test(reason);
  return code === 'EPROTO' && isRecordError ? 'ERR_SSL_WRONG_VERSION_NUMBER' : code;
}

/**
 * Builds the error for a request that got no complete response. Only the code of the original error is kept:
 * HTTP libraries attach headers, and thus tokens, to theirs.
 */
export function networkError(url: URL, error: unknown): RegistryError {
  const code = codeOf(error);
  const { problem, hint } = explain(code);
  return new RegistryError({
    code: code === unsafeAddressCode ? 'UNSAFE_REDIRECT' : 'NETWORK',
    message: `Cannot reach ${url.host}: ${problem}`,
    hint,
    facts: { url: redactedUrl(url), reason: code },
  });
}

/** Tells whether a TLS client received a response that is not TLS. */
export function isPlainTextResponse(error: unknown): boolean {
  return explain(codeOf(error)) === notTls;
}

/** Tells whether a TLS handshake was started and failed. */
export function isTlsFailure(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'EPROTO' || code.startsWith('ERR_SSL_');
}

/** Codes with which Node refuses a certificate that another set of authorities might vouch for. */
const certificateFailures: ReadonlySet<unknown> = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_NOT_YET_VALID',
  'CERT_HAS_EXPIRED',
  'CERT_CHAIN_TOO_LONG',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  // All others of OpenSSL, such as a chain with a weak key.
  'UNSPECIFIED',
]);

/** Tells whether a server's certificate was refused for its chain, not for its names. Nothing was sent to the server then. */
export function isCertificateFailure(error: unknown): boolean {
  return error instanceof RegistryError && certificateFailures.has(error.facts['reason']);
}

/** Tells whether a retry may help. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof RegistryError) || error.code !== 'NETWORK') return false;
  return explain(String(error.facts.reason)).lasting !== true;
}
