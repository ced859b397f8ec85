import { execFileSync } from 'node:child_process';
import { findProgram } from './programs.ts';

/** The kernel series of Debian 12: 6.1.0-N. */
const line = /^linux-image-6\.1\.0-(\d+)-amd64 /gm;

/**
 * The newest kernel release of Debian 12 known to apt, such as `6.1.0-56-amd64`. Older ones are removed from
 * the archive. If apt knows none, this is a release that cannot be downloaded, and whatever needs it fails
 * when it tries.
 */
export const kernelRelease = `6.1.0-${Math.max(0, ...knownNumbers())}-amd64`;

/** A kernel for which headers do not and will not exist. */
export const nextKernel = '6.1.0-999-amd64';

function knownNumbers(): number[] {
  const program = findProgram('apt-cache');
  if (program === undefined) return [];
  const names = String.raw`^linux-image-6\.1\.0-[0-9]+-amd64$`;
  const list = execFileSync(program, ['search', '--names-only', names], { encoding: 'utf8' });
  return Array.from(list.matchAll(line), ([, number]) => Number(number));
}
