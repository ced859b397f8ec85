import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Where a Node of the system may be. */
const places = ['/usr/bin/node', '/usr/local/bin/node'];

/** A Node that is too old for the program, whose launcher then runs the one that npm brought. */
export interface OldNode {
  readonly path: string;
  /** As it states it: `v20.20.2`. */
  readonly version: string;
}

/** Finds the system's Node, where it is too old for the program. */
export function findOldNode(): OldNode | undefined {
  const path = places.find((place) => existsSync(place));
  if (path === undefined) return undefined;
  const version = execFileSync(path, ['--version'], { encoding: 'utf8' }).trim();
  return /^v2[0-3]\./.test(version) ? { path, version } : undefined;
}
