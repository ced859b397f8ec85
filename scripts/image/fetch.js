// Gets files by their checksums, from a cache or from the first of several addresses that has them.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { env, pid } from 'node:process';

/** Where archives are kept unless the command line says otherwise. */
export const defaultCache = join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kmm-sign/packages');

/** Milliseconds that a download may take. */
const patience = 120_000;

/**
 * Returns the path of a file in the cache, which is downloaded if it is not there. What has another checksum is
 * refused. @throws Error that says what each address responded
 */
export async function fetchFile({ name, sha256, size }, addresses, cache) {
  const path = join(cache, `${sha256}.deb`);
  if (existsSync(path) && digestOf(readFileSync(path)) === sha256) return path;
  const failures = [];
  for (const address of addresses) {
    try {
      const content = await download(address, size);
      if (digestOf(content) !== sha256) throw new Error(`its checksum is not ${sha256}`);
      mkdirSync(cache, { recursive: true });
      const fresh = `${path}.${pid}`;
      writeFileSync(fresh, content);
      renameSync(fresh, path);
      return path;
    } catch (error) {
      failures.push(`${address}: ${error.cause?.message ?? error.message}`);
    }
  }
  throw new Error(`${name} cannot be had:\n  ${failures.join('\n  ')}`);
}

async function download(address, size) {
  const response = await fetch(address, { signal: AbortSignal.timeout(patience) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const content = Buffer.from(await response.arrayBuffer());
  if (content.length !== size) throw new Error(`it has ${content.length} bytes in place of ${size}`);
  return content;
}

function digestOf(content) {
  return createHash('sha256').update(content).digest('hex');
}
