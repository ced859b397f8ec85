import * as z from 'zod';
import { configurationFile } from './schema.ts';

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
export function suggestKey(parent: string, unknown: string): string | undefined {
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
    for (const [index, against] of other.split('').entries()) {
      const replaced = (row[index] ?? 0) + (letter === against ? 0 : 1);
      next.push(Math.min(replaced, (row[index + 1] ?? 0) + 1, (next[index] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
