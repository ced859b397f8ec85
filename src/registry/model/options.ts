import type { Logger } from '../../shared/logger.ts';
import type { Secret } from '../../shared/secret.ts';

/** Where credentials for a registry come from. */
export interface CredentialSource {
  /** An auth file that is looked at before the usual ones; it must exist. */
  readonly authfile?: string | undefined;
  /** A user name and password given by hand: they win over everything else. */
  readonly explicit?: { readonly username: string; readonly password: Secret<string> } | undefined;
  /** Files with Kubernetes pull secrets: `.dockerconfigjson` or `.dockercfg`. */
  readonly pullSecrets?: readonly string[] | undefined;
  /** Look nowhere, send no credentials. @default false */
  readonly anonymous?: boolean | undefined;
}

/** How a registry is reached. */
export interface RegistryOptions {
  /** @default the usual files, see `createDefaultKeychain` */
  readonly credentials?: CredentialSource | undefined;
  /** Speak HTTP without TLS. @default false; literal localhost falls back to it by itself */
  readonly plainHttp?: boolean | undefined;
  /**
   * Hosts (`auth.example:5001`) of token servers that may get credentials over plain HTTP from a registry with
   * `plainHttp`. @default only the registry's own host
   */
  readonly plainHttpTokenServers?: readonly string[] | undefined;
  /** Accept any certificate of the server. @default false */
  readonly insecureSkipTlsVerify?: boolean | undefined;
  /** PEM files with certificate authorities that are trusted beside the system's. */
  readonly caFiles?: readonly string[] | undefined;
  /** The same in memory: texts in PEM. */
  readonly certificateAuthorities?: readonly string[] | undefined;
  /** PEM files with what we show to a server that asks for a client certificate. */
  readonly clientCertificate?: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** A folder with `*.crt`, `*.cert` and `*.key` for this registry. @default the certs.d folders of docker and containers */
  readonly certDirectory?: string | undefined;
  /** Milliseconds without a byte before a connection counts as dead. @default 60 000 */
  readonly idleTimeout?: number | undefined;
  /** Further tries of a request that failed for a reason that may pass. @default 4 */
  readonly retries?: number | undefined;
  /** Milliseconds before the first retry; each further one doubles it. @default 500 */
  readonly retryDelay?: number | undefined;
  /** The longest Retry-After that is waited for, in milliseconds. @default 120 000 */
  readonly maxRetryAfter?: number | undefined;
  /** Requests at one time to one host. @default 6 */
  readonly concurrency?: number | undefined;
  /** @default silent */
  readonly logger?: Logger | undefined;
  /** @default kmm-sign */
  readonly userAgent?: string | undefined;
  /** Where proxy settings and credential locations are read from. @default process.env */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
}
