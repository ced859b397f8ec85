import { readdir, readFile, stat } from 'node:fs/promises';
import { parseJson } from '../../shared/json.ts';
import { join } from 'node:path';

/** A pull secret is at most as large as a Kubernetes Secret may be. */
const maxSecretBytes = 1024 * 1024;

/** Finds the files below a directory that hold a JSON object: what a mounted pull secret looks like. */
export async function findPullSecrets(directory: string): Promise<string[]> {
  const found: string[] = [];
  const entries = await readdir(directory, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    // A mounted Secret shows its files twice: by their names, and in a directory that begins with two dots.
    if (entry.name.startsWith('..')) continue;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) found.push(...(await findPullSecrets(path)));
    else if (await holdsJsonObject(path)) found.push(path);
  }
  return found;
}

async function holdsJsonObject(path: string): Promise<boolean> {
  const facts = await stat(path);
  if (!facts.isFile() || facts.size > maxSecretBytes) return false;
  const content = parseJson(await readFile(path, 'utf8'));
  return typeof content === 'object' && content !== null && !Array.isArray(content);
}
