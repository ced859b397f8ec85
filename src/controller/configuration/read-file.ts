import { parseDocument } from 'yaml';
import type * as z from 'zod';
import { withoutNulls, formatPath, formatViolation } from '../../api/schema/resource.ts';
import { isDeepStrictEqual } from 'node:util';
import { configurationError } from './errors.ts';
import { suggestKey } from './known-keys.ts';
import {
  configurationFile,
  exclusiveKeys,
  keysWithoutEffect,
  replacedKeys,
  sameKeys,
  type ConfigurationFile,
} from './schema.ts';

const source = 'The operator configuration';

/** The file, and the keys in it that have no effect. */
export interface ReadConfigurationFile {
  readonly file: ConfigurationFile;
  /** Paths of KMM's keys that are accepted and not used. */
  readonly withoutEffect: readonly string[];
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
  const replaced = replacedKeys.filter(({ key, by }) => isGiven(file, key) && isGiven(file, by));
  const unused = keysWithoutEffect.filter((key) => isGiven(file, key));
  return { file, withoutEffect: [...unused, ...replaced.map(({ key }) => key)] };
}

function contradictions(file: ConfigurationFile): string[] {
  const areGiven = (keys: readonly string[]): boolean => keys.every((key) => isGiven(file, key));
  return [
    ...sameKeys
      .filter(areGiven)
      .filter(([one, other]) => !isDeepStrictEqual(valueAt(file, one), valueAt(file, other)))
      .map(([one, other]) => `${other}: means the same as ${one}, which has another value`),
    ...exclusiveKeys.filter(areGiven).map(([one, other]) => `${other}: cannot be given together with ${one}`),
  ];
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  const path = formatPath(issue.path);
  if (issue.code !== 'unrecognized_keys') {
    return [formatViolation({ path: path === '' ? 'the document' : path, message: issue.message })];
  }
  return issue.keys.map((key) => {
    const meant = suggestKey(path, key);
    const message = meant === undefined ? 'unknown key' : `unknown key; did you mean ${meant}?`;
    return formatViolation({ path: formatPath([...issue.path, key]), message });
  });
}

function isGiven(file: ConfigurationFile, path: string): boolean {
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
