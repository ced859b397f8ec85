import * as z from 'zod/mini';
import { parseJson } from '../../shared/json.ts';
import type { Logger } from '../../shared/logger.ts';
import { Secret } from '../../shared/secret.ts';
import { RegistryError } from '../model/errors.ts';
import { excerpt } from '../../shared/printable.ts';
import type { Credential } from './keychain.ts';

/** The context that credential helpers run in. */
export interface HelperContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly logger: Logger;
}

/** Which helper to run, and for what. */
export interface HelperCall {
  /** The part after `docker-credential-`. */
  readonly helper: string;
  readonly server: string;
  /** Where the helper was configured. */
  readonly source: string;
}

/** Timeout of a helper in milliseconds; some ask a person or a cloud service. */
const timeout = 60_000;
/** The longest response of a helper, in characters. */
const maxOutput = 64 * 1024;

/** The variables that helpers need; they get nothing else of our environment. */
const allowedVariables =
  /^(?:PATH|HOME|USER|LOGNAME|LANG|LC_.*|TZ|TMPDIR|TERM|DISPLAY|WAYLAND_DISPLAY|XDG_.*|DBUS_SESSION_BUS_ADDRESS|GNUPGHOME|GPG_TTY|PASSWORD_STORE_.*|DOCKER_CONFIG|SSL_CERT_FILE|SSL_CERT_DIR|(?:https?|no|all)_proxy|AWS_.*|AMAZON_.*|GOOGLE_.*|CLOUDSDK_.*|AZURE_.*|SYSTEMROOT|APPDATA|LOCALAPPDATA|USERPROFILE)$/i;

const responseSchema = z.object({ Username: z.string(), Secret: z.string() });
/** The protocol's message for "nothing stored" (docker-credential-helpers, credentials/error.go). */
const notFound = 'credentials not found in native keychain';

/**
 * Queries a credential helper (docker-credential-helpers protocol). The signal ends the program.
 * @returns null if the helper has no credential, or is not installed, which is logged as a warning
 * @throws RegistryError INVALID_CONFIGURATION if it fails; the signal's reason
 */
export async function queryHelper(
  call: HelperCall,
  { environment, logger }: HelperContext,
  signal?: AbortSignal,
): Promise<Credential | null> {
  const { helper, server, source } = call;
  signal?.throwIfAborted();
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(helper))
    throw failed(call, 'its name is not the name of a program');
  const program = `docker-credential-${helper}`;
  const { execa } = await import('execa');
  const result = await execa(program, ['get'], {
    input: server,
    env: Object.fromEntries(Object.entries(environment).filter(([name]) => allowedVariables.test(name))),
    extendEnv: false,
    timeout,
    maxBuffer: maxOutput,
    reject: false,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  signal?.throwIfAborted();
  if (result.code === 'ENOENT') {
    logger.warn('A credential helper is not installed, continuing without it', { helper: program, source });
    return null;
  }
  if (result.timedOut) throw failed(call, `it timed out after ${timeout / 1000} seconds`);
  if (result.failed) {
    if (result.stdout.trim() === notFound) return null;
    throw failed(
      call,
      excerpt(result.stdout) || `it exited with ${result.exitCode ?? result.signal ?? 'an error'}`,
    );
  }
  return credentialOf(call, result.stdout);
}

function credentialOf(call: HelperCall, stdout: string): Credential | null {
  const parsed = responseSchema.safeParse(parseJson(stdout));
  if (!parsed.success) throw failed(call, 'its response does not follow the protocol');
  const { Username: username, Secret: secret } = parsed.data;
  if (secret === '') return null;
  const source = `docker-credential-${call.helper} (${call.server}, named in ${call.source})`;
  if (username === '<token>') return { source, identityToken: new Secret(secret) };
  return { source, username, password: new Secret(secret) };
}

function failed({ helper, server, source }: HelperCall, problem: string): RegistryError {
  return new RegistryError({
    code: 'INVALID_CONFIGURATION',
    message: `The credential helper ${JSON.stringify(helper.slice(0, 60))} returned no credential for ${server}: ${problem}`,
    hint: `Check the helper, or remove it from ${source}.`,
    facts: { path: source, helper, server },
  });
}
