// Finds the newest Debian packages that the image's system consists of, with their checksums.
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { downloadPackages } from './apt.js';

/** The packages that releases are made of. */
export const pinnedPackages = join(import.meta.dirname, 'packages.json');

/**
 * Returns what packages.json has, as it would be today, for some architectures. The archives are kept in the cache, where
 * system.js finds them.
 */
export function lockPackages(architectures, cache) {
  mkdirSync(cache, { recursive: true });
  const { wanted } = JSON.parse(readFileSync(pinnedPackages, 'utf8'));
  const locked = Object.fromEntries(architectures.map((one) => [one, lock(wanted, one, cache)]));
  // The time tells snapshot.debian.org which state of the archive has all of them.
  const snapshot = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return { snapshot, wanted, architectures: locked };
}

function lock(wanted, architecture, cache) {
  const directory = mkdtempSync(join(tmpdir(), 'kmm-sign-apt-'));
  try {
    return downloadPackages(wanted, architecture, directory).map(({ url, file, size, path }) => {
      const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex');
      copyFileSync(path, join(cache, `${sha256}.deb`));
      return { file: decodeURIComponent(file), ...placeOf(url), size, sha256 };
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Returns an archive of Debian and the path in it, whichever mirror the address is of. */
function placeOf(url) {
  const path = decodeURIComponent(url.slice(url.indexOf('/pool/') + 1));
  return { archive: path.startsWith('pool/updates/') ? 'debian-security' : 'debian', path };
}
