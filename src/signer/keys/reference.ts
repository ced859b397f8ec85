import { open } from 'node:fs/promises';
import { SignerError, type SignerErrorCode } from '../model/errors.ts';
import { derTag } from '../cms/der.ts';
import { Secret } from '../../shared/secret.ts';

/**
 * Reads the data of a Kubernetes Secret. The signer does not depend on Kubernetes; the caller supplies this.
 */
export interface SecretReader {
  /** Returns the decoded values of a Secret by key. */
  read(namespace: string, name: string): Promise<Readonly<Record<string, Uint8Array>>>;
}

/** The sources that references can point to. */
export interface ReferenceSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For `k8s://`; without it, such references are refused. */
  readonly readSecret?: SecretReader | undefined;
}

/** What a reference names; determines error codes and which keys of a Secret are tried. */
export type ReferenceKind = 'key' | 'certificate';

/** The keys that KMM uses in its Secrets, and those of kubernetes.io/tls. */
const secretKeys: Record<ReferenceKind, readonly string[]> = {
  key: ['key', 'tls.key'],
  certificate: ['cert', 'tls.crt'],
};
const errorCodes: Record<ReferenceKind, SignerErrorCode> = {
  key: 'INVALID_KEY',
  certificate: 'INVALID_CERTIFICATE',
};
/** Keys and certificate bundles take kilobytes. */
const maxFileBytes = 4 * 1024 * 1024;

/**
 * Reads what a key or certificate reference names: a path, `env://NAME`, or `k8s://NAMESPACE/SECRET[/KEY]`.
 * @throws SignerError INVALID_KEY, INVALID_CERTIFICATE, LIMIT_EXCEEDED
 */
export async function readReference(
  reference: string,
  kind: ReferenceKind,
  sources: ReferenceSources,
): Promise<Buffer> {
  return decodeStored(await readBytes(reference, kind, sources));
}

async function readBytes(reference: string, kind: ReferenceKind, sources: ReferenceSources): Promise<Buffer> {
  if (reference.startsWith('env://')) return readVariable(reference.slice('env://'.length), kind, sources);
  if (reference.startsWith('k8s://')) return readSecretKey(reference, kind, sources);
  if (/^(?!file:)[a-z][a-z0-9+.-]+:(?:\/\/|[a-z-]+=)/i.test(reference)) {
    throw new SignerError({
      code: errorCodes[kind],
      message: `The ${kind} "${scheme(reference)}…" is not of a supported kind`,
      hint: isTokenUri(reference)
        ? 'To use a key in a token, give --sign-file PROGRAM: the sign-file of the kernel tree reads it.'
        : 'Use a file, env://NAME or k8s://NAMESPACE/SECRET[/KEY].',
    });
  }
  return readFileOf(reference.replace(/^file:\/\//, ''), kind);
}

/** Reads a file of at most 4 MiB. @throws SignerError INVALID_KEY, INVALID_CERTIFICATE, LIMIT_EXCEEDED */
export async function readFileOf(path: string, kind: ReferenceKind): Promise<Buffer> {
  try {
    await using file = await open(path, 'r');
    const chunks: Buffer[] = [];
    let length = 0;
    // A pipe from a shell's <(command) has no size, so the limit applies to the bytes read.
    for await (const chunk of file.createReadStream({ autoClose: false })) {
      if (!(chunk instanceof Buffer)) continue;
      length += chunk.length;
      if (length > maxFileBytes) throw tooLarge(path, kind);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    if (error instanceof SignerError) throw error;
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new SignerError({
      code: errorCodes[kind],
      message: `The ${kind} file ${path} cannot be read (${reason})`,
      hint: 'Check the path, and that this user may read the file.',
      facts: { path, reason },
    });
  }
}

function readVariable(name: string, kind: ReferenceKind, { env }: ReferenceSources): Buffer {
  const value = env[name];
  if (value === undefined || value === '') {
    throw new SignerError({
      code: errorCodes[kind],
      message: `The environment variable ${name} that should contain the ${kind} is not set`,
      hint: 'Set it to PEM, or to PEM or DER in base64.',
      facts: { variable: name },
    });
  }
  return Buffer.from(value);
}

/** Returns whether a reference is a PKCS #11 URI (RFC 7512), which names a key in a token. */
export function isTokenUri(reference: string): boolean {
  return /^pkcs11:/i.test(reference);
}

async function readSecretKey(
  reference: string,
  kind: ReferenceKind,
  sources: ReferenceSources,
): Promise<Buffer> {
  const [namespace, name, key, ...rest] = reference.slice('k8s://'.length).split('/');
  if (!namespace || !name || key === '' || rest.length > 0) {
    throw new SignerError({
      code: errorCodes[kind],
      message: `"${reference}" does not name a Secret`,
      hint: 'The form is k8s://NAMESPACE/SECRET or k8s://NAMESPACE/SECRET/KEY.',
    });
  }
  if (sources.readSecret === undefined) {
    throw new SignerError({
      code: errorCodes[kind],
      message: `"${reference}" cannot be read without access to Kubernetes`,
      hint: 'Give a file, or env://NAME.',
    });
  }
  const values = await sources.readSecret.read(namespace, name);
  const wanted = key === undefined ? secretKeys[kind] : [key];
  for (const candidate of wanted) {
    const value = Object.hasOwn(values, candidate) ? values[candidate] : undefined;
    if (value !== undefined) return Buffer.from(value);
  }
  throw new SignerError({
    code: errorCodes[kind],
    message: `The Secret ${namespace}/${name} has no key ${wanted.join(' or ')}`,
    hint: 'Name the key: k8s://NAMESPACE/SECRET/KEY.',
    facts: { namespace, secret: name, keys: Object.keys(values) },
  });
}

function scheme(reference: string): string {
  return reference.slice(0, reference.indexOf(':') + 1);
}

function tooLarge(path: string, kind: ReferenceKind): SignerError {
  return new SignerError({
    code: 'LIMIT_EXCEEDED',
    message: `The ${kind} file ${path} is larger than ${maxFileBytes} bytes`,
    hint: `Check the path: no ${kind} is as large as that.`,
    facts: { path },
  });
}

const base64 = /^[A-Za-z0-9+/_\s-]+={0,2}\s*$/;
const lineEnd = /(?:\\r)?\\n/g;

/**
 * Returns the stored DER or PEM: variables, files and Secrets sometimes hold it in base64, and PEM with the
 * two characters `\n` in place of line breaks. Anything else is returned as is.
 */
export function decodeStored(bytes: Buffer): Buffer {
  if (bytes[0] === derTag.sequence) return bytes;
  const text = bytes.toString('latin1').replaceAll(lineEnd, '\n');
  // A second round handles Secrets whose value was base64-encoded by hand before Kubernetes encoded it. Each
  // round makes the value shorter.
  return base64.test(text) && !text.includes('-----BEGIN')
    ? decodeStored(Buffer.from(text, 'base64'))
    : Buffer.from(text, 'latin1');
}

/** Returns the passphrase of an encrypted key; called only if one is needed. */
export type PassphraseProvider = () => Promise<Secret<string> | undefined>;

/** Environment variables that may hold a passphrase: ours, and that of the kernel build. */
const variables = ['KMM_SIGN_PASSWORD', 'KBUILD_SIGN_PIN'];

/** Reads the passphrase from a file (without one trailing line break), or else from the environment. */
export function passphraseFrom(sources: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly file?: string | undefined;
}): PassphraseProvider {
  return async () => {
    if (sources.file !== undefined) {
      const text = (await readFileOf(sources.file, 'key')).toString('utf8');
      return new Secret(text.replace(/\r?\n$/, ''));
    }
    const name = variables.find((variable) => sources.env[variable] !== undefined);
    const value = name === undefined ? undefined : sources.env[name];
    return value === undefined ? undefined : new Secret(value);
  };
}

/** Returns the error for a passphrase that does not open the key. */
export function wrongPassphrase(name: string): SignerError {
  return new SignerError({
    code: 'WRONG_PASSPHRASE',
    message: `The passphrase does not open ${name}`,
    hint: 'The passphrase comes from a file, KMM_SIGN_PASSWORD or KBUILD_SIGN_PIN, in this order; openssl pkey -in FILE -noout shows whether it opens the key.',
  });
}
