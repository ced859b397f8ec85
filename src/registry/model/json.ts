import { RegistryError } from './errors.ts';

/** Any JSON object, including unknown fields. */
export type JsonObject = { [field: string]: unknown };

/**
 * Size of the largest manifest, index or configuration that is read, in bytes; registries accept 4 MiB and
 * more.
 */
export const maxManifestSize = 8 * 1024 * 1024;

/** Nesting depth of objects and arrays. Manifests have 4 levels, configurations a few more. */
const maxDepth = 64;

/** Builds the error for a malformed document. */
export function invalidManifest(message: string, hint?: string): RegistryError {
  return new RegistryError({ code: 'INVALID_MANIFEST', message, hint });
}

/** Tells whether a JSON value is an object. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Parses a JSON object from a registry. A name that occurs twice in one object is refused: parsers disagree
 * about which one counts, and a runtime must not see a different image than we do.
 * @param what names the document in errors, such as `the manifest sha256:…`
 * @throws RegistryError INVALID_MANIFEST, LIMIT_EXCEEDED
 */
export function parseJsonObject(bytes: Buffer, what: string): JsonObject {
  if (bytes.length > maxManifestSize) {
    throw new RegistryError({
      code: 'LIMIT_EXCEEDED',
      message: `${what} has ${bytes.length} bytes, more than the limit of ${maxManifestSize}`,
    });
  }
  const value = parse(bytes, what);
  if (!isJsonObject(value)) throw invalidManifest(`${what} is not a JSON object`);
  return value;
}

/** Serializes JSON without whitespace, keeping the order of the fields. */
export function serializeJson(json: JsonObject): Buffer {
  return Buffer.from(JSON.stringify(json));
}

/** Returns a copy of an object without some of its fields. */
export function withoutFields(json: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(json).filter(([name]) => !names.includes(name)));
}

function parse(bytes: Buffer, what: string): unknown {
  const text = decode(bytes, what);
  try {
    checkStructure(text, what);
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof RegistryError) throw error;
    throw invalidManifest(`${what} is not JSON`);
  }
}

function decode(bytes: Buffer, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalidManifest(`${what} is not UTF-8 text`);
  }
}

/** Runs before JSON.parse, whose recursion a deep document would exhaust, so it must cope with any text. */
function checkStructure(text: string, what: string): void {
  const open: Set<string>[] = [];
  let literal = '';
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') {
      const end = endOfString(text, at);
      literal = text.slice(at, end);
      at = end - 1;
    } else if (character === ':') {
      addName(open.at(-1), literal, what);
    } else if (character === '{' || character === '[') {
      if (open.length >= maxDepth)
        throw invalidManifest(`${what} is nested more than ${maxDepth} levels deep`);
      open.push(new Set());
    } else if (character === '}' || character === ']') {
      open.pop();
    }
  }
}

/** Returns the position after the closing quote of the string that starts at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') return at + 1;
    if (character === '\\') at += 1;
  }
  return text.length;
}

function addName(names: Set<string> | undefined, literal: string, what: string): void {
  const name = String(JSON.parse(literal));
  if (names?.has(name))
    throw invalidManifest(`${what} has the field "${name.slice(0, 80)}" twice in one object`);
  names?.add(name);
}

/**
 * Refuses fields that differ from a known one only in case: Go's decoder, and so every container runtime,
 * takes them for the known one, while JavaScript ignores them.
 */
export function checkSpelling(json: JsonObject, known: readonly string[], what: string): void {
  for (const name of Object.keys(json)) {
    if (known.includes(name)) continue;
    // Upper case first: it also folds the long s and the Kelvin sign, as Go does.
    const folded = name.toUpperCase().toLowerCase();
    const correct = known.find((field) => field.toLowerCase() === folded);
    if (correct !== undefined)
      throw invalidManifest(`${what} spells the field "${correct}" as "${name.slice(0, 80)}"`);
  }
}
