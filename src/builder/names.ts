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
  return JSON.stringify(sortProperties(value));
}

/** Sorts the properties of all objects in a value. A replacer of JSON.stringify would be called for each of them. */
function sortProperties(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (isList(value)) return value.map(sortProperties);
  return Object.fromEntries(
    Object.keys(value)
      .toSorted()
      .map((key) => [key, sortProperties(value[key])]),
  );
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
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

const ownName = new RegExp(`^([a-z0-9]+-)*[a-z2-7]{${hashLength}}$`);

/** Returns whether a name could be a result of `objectName`. */
export function isObjectName(name: string): boolean {
  return ownName.test(name);
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

/** Characters of the longest `NAMESPACE.NAME`: KMM allows both to have 41 together. */
const maxStemLength = 42;
/** Characters of a stem that was shortened: what the longest of our labels leaves. */
const maxShortStemLength = 41;

/**
 * Returns `NAMESPACE.NAME` as used in the keys of node labels, as KMM does for every name that it allows. If it
 * is too long, or the name ends so that keys would be ambiguous (the ready label of `m.version` would be the
 * version label of `m`), returns a readable prefix and a hash, without a dot.
 */
export function labelStem(namespace: string, name: string): string {
  const stem = `${namespace}.${name}`;
  if (!name.endsWith('.version') && stem.length <= maxStemLength && dottedStem.test(stem)) return stem;
  return shortStem([namespace, name]);
}

/** Returns a readable prefix and a hash of parts of a stem, without a dot. */
export function shortStem(parts: readonly string[]): string {
  return objectName(parts, parts, maxShortStemLength);
}

const dottedStem = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$/;
const hashedStem = new RegExp(`^([a-z0-9][-a-z0-9]*-)?[a-z2-7]{${hashLength}}$`);

/** Returns whether a text could be a result of `labelStem`. */
export function isLabelStem(text: string): boolean {
  return text.length <= maxStemLength && (dottedStem.test(text) || hashedStem.test(text));
}
