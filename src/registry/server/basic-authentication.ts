import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Secret } from '../../shared/secret.ts';
import { RegistryError } from '../errors.ts';
import { ProtocolError } from './protocol-error.ts';

/** Who may use the registry: one user, or those of an htpasswd file with bcrypt hashes. */
export type BasicAuthentication =
  | { readonly user: string; readonly password: Secret<string> }
  | { readonly htpasswd: string };

/** Checks an Authorization header. @throws ProtocolError 401 */
export type Authenticate = (authorization: string | undefined) => Promise<void>;

type CheckPassword = (user: string, password: string) => Promise<boolean>;

const bcryptHash = /^\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}$/;

/** Makes the check for one way to authenticate. @throws RegistryError INVALID_CONFIGURATION for a file that is not htpasswd */
export async function createAuthenticate(
  authentication: BasicAuthentication | undefined,
): Promise<Authenticate> {
  if (authentication === undefined) return () => Promise.resolve();
  const check =
    'htpasswd' in authentication ? await fromFile(authentication.htpasswd) : single(authentication);
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

async function fromFile(path: string): Promise<CheckPassword> {
  const hashes = parseHtpasswd(await readHtpasswd(path), path);
  const { compare } = await import('bcryptjs');
  const fingerprint = createFingerprint();
  // bcrypt is slow on purpose: one check per password, not one per request.
  const accepted = new Set<string>();
  return async (user, password) => {
    const key = fingerprint(user, password).toString('base64');
    if (accepted.has(key)) return true;
    const hash = hashes.get(user);
    if (hash === undefined || !(await compare(password, hash))) return false;
    accepted.add(key);
    return true;
  };
}

/** A keyed hash, so that comparing takes the same time wherever the difference lies. */
function createFingerprint(): (user: string, password: string) => Buffer {
  const key = randomBytes(32);
  return (user, password) =>
    createHmac('sha256', key)
      .update(JSON.stringify([user, password]))
      .digest();
}

async function readHtpasswd(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    throw new RegistryError({
      code: 'INVALID_CONFIGURATION',
      message: `The password file ${path} cannot be read`,
      hint: 'Name a file made with htpasswd -B.',
      facts: { path },
    });
  }
}

function parseHtpasswd(text: string, path: string): Map<string, string> {
  const hashes = new Map<string, string>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const hash = line.slice(colon + 1).trim();
    if (colon < 1 || !bcryptHash.test(hash)) {
      throw new RegistryError({
        code: 'INVALID_CONFIGURATION',
        message: `Line ${index + 1} of ${path} is not a user with a bcrypt hash`,
        hint: 'Make the file with htpasswd -B.',
        facts: { path, line: index + 1 },
      });
    }
    hashes.set(line.slice(0, colon), hash);
  }
  return hashes;
}
