import type { Logger } from '../../shared/logger.ts';
import type { Secret } from '../../shared/secret.ts';

/** Where credentials for a registry come from. */
export interface CredentialSource {
  /** An auth file that is read before the usual ones; it must exist. */
  readonly authfile?: string | undefined;
  /** An explicit user name and password; takes precedence over everything else. */
  readonly explicit?: { readonly username: string; readonly password: Secret<string> } | undefined;
  /** Files that contain Kubernetes pull secrets: `.dockerconfigjson` or `.dockercfg`. */
  readonly pullSecrets?: readonly string[] | undefined;
  /** Look up and send no credentials. @default false */
  readonly anonymous?: boolean | undefined;
}

/** How to connect to a registry. */
export interface RegistryOptions {
  /** @default the usual files, see `createDefaultKeychain` */
  readonly credentials?: CredentialSource | undefined;
  /** Use HTTP without TLS. @default false; the literal host localhost falls back to it automatically */
  readonly plainHttp?: boolean | undefined;
  /**
   * Hosts of token servers (`auth.example:5001`) that may be sent credentials over plain HTTP for a registry
   * with `plainHttp`.
   * @default only the registry's own host
   */
  readonly plainHttpTokenServers?: readonly string[] | undefined;
  /** Accept any server certificate. @default false */
  readonly insecureSkipTlsVerify?: boolean | undefined;
  /** PEM files with certificate authorities to trust in addition to the system's. */
  readonly caFiles?: readonly string[] | undefined;
  /** The same, as PEM text. */
  readonly certificateAuthorities?: readonly string[] | undefined;
  /** PEM files of the client certificate and its key. */
  readonly clientCertificate?: { readonly certFile: string; readonly keyFile: string } | undefined;
  /**
   * A directory with `*.crt`, `*.cert` and `*.key` for this registry.
   * @default the certs.d directories of docker and containers
   */
  readonly certDirectory?: string | undefined;
  /** Milliseconds without a byte before a connection is considered dead. @default 60 000 */
  readonly idleTimeout?: number | undefined;
  /** Retries of a request after a transient failure. @default 4 */
  readonly retries?: number | undefined;
  /** Milliseconds before the first retry; doubled with each further one. @default 500 */
  readonly retryDelay?: number | undefined;
  /** The longest Retry-After that is honoured, in milliseconds. @default 120 000 */
  readonly maxRetryAfter?: number | undefined;
  /** Concurrent requests per host. @default 6 */
  readonly concurrency?: number | undefined;
  /** @default silent */
  readonly logger?: Logger | undefined;
  /** @default kmm-sign */
  readonly userAgent?: string | undefined;
  /** Where proxy settings and credential locations are read from. @default process.env */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
}
