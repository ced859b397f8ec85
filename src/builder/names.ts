import { createHash } from 'node:crypto';
import { isLabelValue, maxLabelLength } from '../api/validation/patterns.ts';

/** Length of a hash in names: 80 bits in base 32. */
const hashLength = 16;
const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
/** Marks a label that was shortened. */
const hashMark = '__';
const shortened = new RegExp(`${hashMark}[a-z2-7]{${hashLength}}$`);

/** A value that can be encoded as JSON. */
export type Json =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly Json[]
  | { readonly [key: string]: Json };

/** Returns a value's hash: 16 characters of a-z and 2-7. The order of properties does not matter. */
export function shortHash(value: Json): string {
  const bytes = createHash('sha256').update(canonicalJson(value)).digest();
  let bits = 0n;
  for (const byte of bytes.subarray(0, (hashLength * 5) / 8)) bits = (bits << 8n) | BigInt(byte);
  let text = '';
  for (let index = 0; index < hashLength; index++) {
    text = `${alphabet[Number(bits & 31n)] ?? ''}${text}`;
    bits >>= 5n;
  }
  return text;
}

function canonicalJson(value: Json): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/**
 * Returns a name for any object: lower case letters, digits and dashes, ending in the hash of the identity.
 * @param readable what people should recognise, most important first
 * @param identity everything that distinguishes the object: different identities yield different names
 */
export function objectName(readable: readonly string[], identity: Json, maxLength = maxLabelLength): string {
  const hash = shortHash(identity);
  const prefix = readable
    .join('-')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, maxLength - hashLength - 1)
    .replaceAll(/^-+|-+$/g, '');
  return prefix === '' ? hash : `${prefix}-${hash}`;
}

/**
 * Returns a text as a label value: unchanged if allowed, otherwise a readable prefix and a hash. A text that
 * looks as if it ended in such a hash gets one too, so that different texts have different values.
 */
export function labelValue(text: string): string {
  if (isLabelValue(text) && !shortened.test(text)) return text;
  const hash = shortHash(text);
  const prefix = text
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .slice(0, maxLabelLength - hashLength - hashMark.length)
    .replaceAll(/^[._-]+|[._-]+$/g, '');
  return `${prefix === '' ? 'x' : prefix}${hashMark}${hash}`;
}

/** Characters that the longest of our labels leaves for namespace and name. */
const maxStemLength = 41;

/**
 * Returns `NAMESPACE.NAME` as used in the keys of node labels. If it is too long, or the name has dots that
 * would make keys ambiguous, returns a readable prefix and a hash, without a dot.
 */
export function labelStem(namespace: string, name: string): string {
  const stem = `${namespace}.${name}`;
  if (!name.includes('.') && stem.length <= maxStemLength) return stem;
  return objectName([namespace, name], [namespace, name], maxStemLength);
}

const dottedStem = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?\.[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const hashedStem = new RegExp(`^([a-z0-9][-a-z0-9]*-)?[a-z2-7]{${hashLength}}$`);

/** Returns whether a text could be a result of `labelStem`. */
export function isLabelStem(text: string): boolean {
  return text.length <= maxStemLength && (dottedStem.test(text) || hashedStem.test(text));
}
