import { createHmac } from 'node:crypto';
import * as z from 'zod';
import type { CustomResource } from '../observe/cluster/resources.ts';

/** Replaces text. */
export type Rewrite = (text: string) => string;

const addresses = z.array(z.looseObject({ address: z.string() })).catch([]);
const nodeStatus = z.looseObject({ addresses }).catch({ addresses: [] });

/** Returns the names and addresses of a node. */
export function hostsOf({ metadata, status }: CustomResource): string[] {
  const { name, labels = {} } = metadata;
  const known = nodeStatus.parse(status ?? {}).addresses.map(({ address }) => address);
  return [name, labels['kubernetes.io/hostname'] ?? '', ...known];
}

/** Words with single separators, as host names and addresses are written, alone or within other names. */
const words = /[A-Za-z0-9]+(?:[-.:_]+[A-Za-z0-9]+)*/g;
const separators = /([-.:_]+)/;

/**
 * Creates the function that replaces host names and addresses by `host-` and a hash. The same salt gives the same
 * replacements, so that two gatherings of a cluster can be compared.
 */
export function createAnonymizer(hosts: Iterable<string>, salt: string): Rewrite {
  const replacements = new Map(
    [...hosts].filter((host) => host !== '').map((host) => [host.toLowerCase(), pseudonym(host, salt)]),
  );
  if (replacements.size === 0) return (text) => text;
  return (text) => text.replaceAll(words, (word) => replaceWithin(word, replacements));
}

function pseudonym(host: string, salt: string): string {
  const digest = createHmac('sha256', salt).update(host.toLowerCase()).digest('hex');
  return `host-${digest.slice(0, 10)}`;
}

/** Replaces the longest host names between separators: pods may be named after their node. */
function replaceWithin(word: string, replacements: ReadonlyMap<string, string>): string {
  const parts = word.split(separators);
  let result = '';
  for (let start = 0; start < parts.length; start += 1) {
    const end = findEnd(parts, start, replacements);
    const found = end === undefined ? undefined : lookUp(parts, start, end, replacements);
    result += found ?? parts[start] ?? '';
    if (end !== undefined) start = end - 1;
  }
  return result;
}

function findEnd(
  parts: readonly string[],
  start: number,
  replacements: ReadonlyMap<string, string>,
): number | undefined {
  for (let end = parts.length; end > start; end -= 1) {
    if (lookUp(parts, start, end, replacements) !== undefined) return end;
  }
  return undefined;
}

function lookUp(
  parts: readonly string[],
  start: number,
  end: number,
  replacements: ReadonlyMap<string, string>,
): string | undefined {
  return replacements.get(parts.slice(start, end).join('').toLowerCase());
}
