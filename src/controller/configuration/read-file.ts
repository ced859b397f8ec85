import { isDeepStrictEqual } from 'node:util';
import { parseDocument } from 'yaml';
import * as z from 'zod';
import { withoutNulls, formatPath, formatViolation } from '../../api/schema/resource.ts';
import { configurationError } from './errors.ts';
import {
  configurationFile,
  exclusiveKeys,
  unusedKeys,
  replacedKeys,
  sameKeys,
  type ConfigurationFile,
} from './schema.ts';

const source = 'The operator configuration';

/** The file, and the keys in it that are ignored. */
export interface ReadConfigurationFile {
  readonly file: ConfigurationFile;
  /** Paths of KMM's keys that are accepted and ignored. */
  readonly ignoredKeys: readonly string[];
}

/**
 * Reads the text of a configuration file. An empty one is valid.
 * @throws ConfigurationError that names each invalid key
 */
export function readConfigurationFile(text: string): ReadConfigurationFile {
  const document = parseDocument(text, { prettyErrors: true });
  const [broken] = document.errors;
  if (broken !== undefined) throw configurationError(source, [broken.message.trim()]);
  // As in Go, a key without a value counts as absent.
  const value = withoutNulls(document.toJS() ?? {});
  const result = configurationFile.safeParse(value);
  if (!result.success) throw configurationError(source, result.error.issues.flatMap(describeIssue));
  const file = result.data;
  const problems = contradictions(file);
  if (problems.length > 0) throw configurationError(source, problems);
  const replaced = replacedKeys.filter(({ key, by }) => isSet(file, key) && isSet(file, by));
  const unused = unusedKeys.filter((key) => isSet(file, key));
  return { file, ignoredKeys: [...unused, ...replaced.map(({ key }) => key)] };
}

function contradictions(file: ConfigurationFile): string[] {
  const areSet = (keys: readonly string[]): boolean => keys.every((key) => isSet(file, key));
  return [
    ...sameKeys
      .filter(areSet)
      .filter(([one, other]) => !isDeepStrictEqual(valueAt(file, one), valueAt(file, other)))
      .map(([one, other]) => `${other}: means the same as ${one}, which has another value`),
    ...exclusiveKeys.filter(areSet).map(([one, other]) => `${other}: cannot be set together with ${one}`),
  ];
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  const path = formatPath(issue.path);
  if (issue.code !== 'unrecognized_keys') {
    return [formatViolation({ path: path === '' ? 'the document' : path, message: issue.message })];
  }
  return issue.keys.map((key) => {
    const suggestion = suggestKey(path, key);
    const message = suggestion === undefined ? 'unknown key' : `unknown key; did you mean ${suggestion}?`;
    return formatViolation({ path: formatPath([...issue.path, key]), message });
  });
}

function isSet(file: ConfigurationFile, path: string): boolean {
  return valueAt(file, path) !== undefined;
}

function valueAt(file: ConfigurationFile, path: string): unknown {
  let value: unknown = file;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = Object.entries(value).find(([key]) => key === name)?.[1];
  }
  return value;
}

/** Paths of all keys of the configuration file, such as `leaderElection.resourceID`. */
export const configurationKeys: readonly string[] = keysOf(configurationFile, []);

function keysOf(schema: unknown, path: readonly string[]): string[] {
  if (schema instanceof z.ZodOptional) return keysOf(schema.unwrap(), path);
  // A schema that is not strict is part of the Kubernetes API, and accepts any key.
  const isStrict = schema instanceof z.ZodObject && schema.def.catchall instanceof z.ZodNever;
  if (!isStrict) return path.length === 0 ? [] : [path.join('.')];
  return Object.entries(schema.shape).flatMap(([name, inner]) => keysOf(inner, [...path, name]));
}

/** The most characters in which a misspelt key may differ. */
const maxDistance = 2;

/**
 * Suggests a key for an unknown one: its name if it has the same parent, else its whole path. Returns
 * undefined if none is similar.
 */
function suggestKey(parent: string, unknown: string): string | undefined {
  const prefix = parent === '' ? '' : `${parent}.`;
  const siblings = new Set(
    configurationKeys
      .filter((key) => key.startsWith(prefix))
      .map((key) => key.slice(prefix.length).split('.')[0] ?? ''),
  );
  const nearest = [...siblings]
    .map((name) => ({ name, distance: distance(name.toLowerCase(), unknown.toLowerCase()) }))
    .toSorted((one, other) => one.distance - other.distance)[0];
  if (nearest !== undefined && nearest.distance <= maxDistance) return nearest.name;
  return configurationKeys.find((key) => key.split('.').at(-1) === unknown);
}

/** Returns the number of characters to insert, delete or replace (Levenshtein). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [line, letter] of one.split('').entries()) {
    const next = [line + 1];
    for (const [index, otherLetter] of other.split('').entries()) {
      const replaced = (row[index] ?? 0) + (letter === otherLetter ? 0 : 1);
      next.push(Math.min(replaced, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
