import { timingSafeEqual } from 'node:crypto';
import type { Secret } from '../../shared/secret.ts';
import { createFingerprint, createPasswordCheck, readHtpasswd, type CheckPassword } from './htpasswd.ts';
import { PasswordHasher } from './password-hasher.ts';
import { ProtocolError } from './protocol-error.ts';

/** Who may use the registry: one user, or those of an htpasswd file with bcrypt hashes. */
export type BasicAuthentication =
  | { readonly user: string; readonly password: Secret<string> }
  | { readonly htpasswd: string };

/** Checks an Authorization header. @throws ProtocolError 401, 429 */
export type Authenticate = (authorization: string | undefined) => Promise<void>;

/** Makes the check for one way to authenticate; what it needs is released with `resources`. @throws RegistryError INVALID_CONFIGURATION for a file that is not htpasswd */
export async function createAuthenticate(
  authentication: BasicAuthentication | undefined,
  resources: AsyncDisposableStack,
): Promise<Authenticate> {
  if (authentication === undefined) return () => Promise.resolve();
  const check =
    'htpasswd' in authentication
      ? await fromFile(authentication.htpasswd, resources)
      : single(authentication);
  return async (authorization) => {
    const credentials = parseBasic(authorization);
    if (credentials === undefined || !(await check(credentials.user, credentials.password))) {
      throw new ProtocolError({
        status: 401,
        code: 'UNAUTHORIZED',
        message: 'a valid user and password are needed',
        headers: { 'www-authenticate': 'Basic realm="kmm-sign registry", charset="UTF-8"' },
      });
    }
  };
}

function parseBasic(authorization: string | undefined): { user: string; password: string } | undefined {
  const match = /^basic +([A-Za-z0-9+/=]+)$/i.exec(authorization ?? '');
  const text = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

function single({
  user,
  password,
}: {
  readonly user: string;
  readonly password: Secret<string>;
}): CheckPassword {
  const fingerprint = createFingerprint();
  const expected = fingerprint(user, password.reveal());
  return (givenUser, givenPassword) =>
    Promise.resolve(timingSafeEqual(fingerprint(givenUser, givenPassword), expected));
}

async function fromFile(path: string, resources: AsyncDisposableStack): Promise<CheckPassword> {
  const hashes = await readHtpasswd(path);
  const hasher = resources.use(new PasswordHasher());
  return createPasswordCheck(hashes, (password, hash) => hasher.compare(password, hash));
}
