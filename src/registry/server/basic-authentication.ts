import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { LruMap } from '../../shared/lru.ts';
import { readFile } from 'node:fs/promises';
import type { Secret } from '../../shared/secret.ts';
import { RegistryError } from '../model/errors.ts';
import { PasswordHasher } from './password-hasher.ts';
import { ProtocolError } from './exchange.ts';

/** Who may use the registry: one user, or the users of an htpasswd file with bcrypt hashes. */
export type BasicAuthentication =
  | { readonly user: string; readonly password: Secret<string> }
  | { readonly htpasswd: string };

/** Checks an Authorization header. @throws ProtocolError 401, 429 */
export type Authenticate = (authorization: string | undefined) => Promise<void>;

/**
 * Creates the check for an authentication method; its resources are released with `resources`.
 * @throws RegistryError INVALID_CONFIGURATION for a file that is not an htpasswd file
 */
export async function createAuthenticate(
  authentication: BasicAuthentication | undefined,
  resources: AsyncDisposableStack,
): Promise<Authenticate> {
  if (authentication === undefined) return () => Promise.resolve();
  const check =
    'htpasswd' in authentication
      ? await htpasswdCheck(authentication.htpasswd, resources)
      : singleUserCheck(authentication);
  return async (authorization) => {
    const credentials = parseBasic(authorization);
    if (credentials === undefined || !(await check(credentials.user, credentials.password))) {
      throw new ProtocolError({
        status: 401,
        code: 'UNAUTHORIZED',
        message: 'a valid user and password are required',
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

function singleUserCheck({
  user,
  password,
}: {
  readonly user: string;
  readonly password: Secret<string>;
}): CheckPassword {
  const fingerprint = createFingerprint();
  const expected = fingerprint(user, password.reveal());
  return (name, secret) => Promise.resolve(timingSafeEqual(fingerprint(name, secret), expected));
}

async function htpasswdCheck(path: string, resources: AsyncDisposableStack): Promise<CheckPassword> {
  const hashes = await readHtpasswd(path);
  const hasher = resources.use(new PasswordHasher());
  return createPasswordCheck(hashes, (password, hash) => hasher.compare(password, hash));
}

/** Tells whether a user's password is correct. @throws ProtocolError 429 */
export type CheckPassword = (user: string, password: string) => Promise<boolean>;

/** Tells whether a password matches a bcrypt hash. */
export type CompareHash = (password: string, hash: string) => Promise<boolean>;

const bcryptHash = /^\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}$/;

/** The hash to compare with if the file has no users, with the cost that htpasswd and others use today. */
const unknownUserHash = `$2b$10$${'.'.repeat(53)}`;

/** The most passwords being compared or queued. More are refused: each takes tenths of a second. */
const maxComparisons = 16;

/** Seconds after which a refused client may retry. */
const retryAfter = 2;

/** The most verified pairs of user and password to cache. */
const maxVerified = 1000;

/**
 * Creates the password check for users with bcrypt hashes. A password that was correct is not compared again,
 * and equal ones at the same time are compared once. An unknown user costs a comparison just as a known one
 * does.
 */
export function createPasswordCheck(
  hashes: ReadonlyMap<string, string>,
  compare: CompareHash,
): CheckPassword {
  const fingerprint = createFingerprint();
  const decoys = [...hashes.values()];
  const verified = new LruMap<true>(maxVerified);
  const running = new Map<string, Promise<boolean>>();

  async function verify(key: string, { user, password }: Credentials): Promise<boolean> {
    const hash = hashes.get(user);
    // The hash of one of the users, always the same one, so that the time reveals nothing if costs differ.
    const decoy = decoys[fingerprint(user, '').readUInt32BE() % decoys.length] ?? unknownUserHash;
    const matches = await compare(password, hash ?? decoy);
    if (hash === undefined || !matches) return false;
    verified.set(key, true);
    return true;
  }

  return async (user, password) => {
    const key = fingerprint(user, password).toString('base64');
    if (verified.get(key) === true) return true;
    const same = running.get(key);
    if (same !== undefined) return same;
    if (running.size >= maxComparisons) throw tooMany();
    const check = verify(key, { user, password }).finally(() => running.delete(key));
    running.set(key, check);
    return check;
  };
}

interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** Creates a keyed hash, so that a comparison takes the same time wherever the difference is. */
function createFingerprint(): (user: string, password: string) => Buffer {
  const key = randomBytes(32);
  return (user, password) =>
    createHmac('sha256', key)
      .update(JSON.stringify([user, password]))
      .digest();
}

/** Reads the users and hashes of an htpasswd file. @throws RegistryError INVALID_CONFIGURATION */
async function readHtpasswd(path: string): Promise<Map<string, string>> {
  let text;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    throw new RegistryError({
      code: 'INVALID_CONFIGURATION',
      message: `The password file ${path} cannot be read`,
      hint: 'Name a file created with htpasswd -B.',
      facts: { path },
    });
  }
  return parseHtpasswd(text, path);
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
        hint: 'Create the file with htpasswd -B.',
        facts: { path, line: index + 1 },
      });
    }
    hashes.set(line.slice(0, colon), hash);
  }
  return hashes;
}

function tooMany(): ProtocolError {
  return new ProtocolError({
    status: 429,
    code: 'TOOMANYREQUESTS',
    message: 'too many passwords are waiting to be checked',
    headers: { 'retry-after': String(retryAfter) },
  });
}
