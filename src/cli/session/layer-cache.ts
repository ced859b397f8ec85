import { isAbsolute, join } from 'node:path';
import { ContentsCache } from '../../registry/layer/contents-cache.ts';
import { version } from '../output/version.ts';

/**
 * Opens the cache of what layers contain: `kmm-sign/layers` below XDG_CACHE_HOME, or else below `.cache` in HOME, as
 * the XDG Base Directory Specification says. undefined if neither is there or may be written: then layers are read.
 */
export async function openLayerCache(environment: NodeJS.ProcessEnv): Promise<ContentsCache | undefined> {
  const { XDG_CACHE_HOME = '', HOME = '' } = environment;
  const base = isAbsolute(XDG_CACHE_HOME)
    ? XDG_CACHE_HOME
    : isAbsolute(HOME)
      ? join(HOME, '.cache')
      : undefined;
  if (base === undefined) return undefined;
  return ContentsCache.open({ directory: join(base, 'kmm-sign', 'layers'), program: version });
}
