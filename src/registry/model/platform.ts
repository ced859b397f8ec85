import { RegistryError } from './errors.ts';

/** A platform as in an image index (image-spec, image-index.md, "platform"). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
}

const pattern = /^([A-Za-z0-9_-]+)\/([A-Za-z0-9_.-]+)(?:\/([A-Za-z0-9_.-]+))?(?::([A-Za-z0-9_.-]+))?$/;

/** Aliases of architectures, some of which imply a variant. */
const aliases: Readonly<Record<string, { readonly architecture: string; readonly variant?: string }>> = {
  i386: { architecture: '386', variant: '' },
  x86_64: { architecture: 'amd64' },
  'x86-64': { architecture: 'amd64' },
  aarch64: { architecture: 'arm64' },
  armhf: { architecture: 'arm', variant: 'v7' },
  armel: { architecture: 'arm', variant: 'v6' },
};

/** Aliases of variants, by architecture. The default variant is written as none, except for arm. */
const variants: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  amd64: { v1: '' },
  arm64: { '8': '', v8: '', 'v8.0': '', '9': 'v9', '9.0': 'v9', 'v9.0': 'v9' },
  arm: { '': 'v7', '5': 'v5', '6': 'v6', '7': 'v7', '8': 'v8' },
};

/**
 * Parses `os/architecture[/variant][:os-version]`, such as `linux/arm64/v8`.
 * @throws RegistryError INVALID_REFERENCE
 */
export function parsePlatform(text: string): Platform {
  const [, os, architecture, variant, osVersion] = pattern.exec(text) ?? [];
  if (os === undefined || architecture === undefined) {
    throw new RegistryError({
      code: 'INVALID_REFERENCE',
      message: `"${text.slice(0, 100)}" is not a platform`,
      hint: 'A platform is os/architecture or os/architecture/variant, such as linux/arm64/v8.',
    });
  }
  return {
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { osVersion }),
  };
}

/** Formats a platform so that `parsePlatform` can read it. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant, osVersion } = platform;
  return `${os}/${architecture}${variant ? `/${variant}` : ''}${osVersion ? `:${osVersion}` : ''}`;
}

/**
 * Normalizes a platform for comparison, as containerd's `platforms.Normalize` does on a Linux node:
 * `Linux/x86_64` becomes `linux/amd64`, `linux/arm` becomes `linux/arm/v7`, and an empty operating system
 * means Linux.
 */
export function normalizePlatform(platform: Platform): Platform {
  const { variant, osVersion } = platform;
  const os = platform.os === '' ? 'linux' : platform.os.toLowerCase();
  const name = platform.architecture.toLowerCase();
  const alias = Object.hasOwn(aliases, name) ? aliases[name] : undefined;
  const architecture = alias?.architecture ?? name;
  const stated = alias?.variant ?? (variant ?? '').toLowerCase();
  const known = Object.hasOwn(variants, architecture) ? variants[architecture] : undefined;
  const canonical = known !== undefined && Object.hasOwn(known, stated) ? known[stated] : stated;
  return {
    os: os === 'macos' ? 'darwin' : os,
    architecture,
    ...(canonical ? { variant: canonical } : {}),
    ...(osVersion === undefined ? {} : { osVersion }),
  };
}

/** Tells whether a platform is BuildKit's `unknown/unknown`, which no runtime requests. */
export function isUnknownPlatform(platform: Platform): boolean {
  const { os, architecture } = normalizePlatform(platform);
  return os === 'unknown' && architecture === 'unknown';
}

/**
 * Tells whether an image's platform is the requested one, however either is spelled. A variant or version
 * that was not requested may be anything; a variant that an image does not state is the default one, so
 * `arm64` is `arm64/v8`.
 */
export function matchesPlatform(requested: Platform, actual: Platform): boolean {
  const expected = normalizePlatform(requested);
  const present = normalizePlatform(actual);
  const anyVariant = !requested.variant && !impliesVariant(requested);
  return (
    expected.os === present.os &&
    expected.architecture === present.architecture &&
    (anyVariant || expected.variant === present.variant) &&
    (!expected.osVersion || expected.osVersion === present.osVersion)
  );
}

/** Variants of 32-bit ARM. Software for one also runs on those before it. */
const armVariants = ['v8', 'v7', 'v6', 'v5'];

/**
 * Chooses the candidate that a runtime would take: the nearest variant that runs on the platform, and the
 * first of equal ones. If no variant is requested and none is near, any will do. Returns undefined if none
 * matches.
 */
export function choosePlatform<T>(
  candidates: readonly T[],
  platformOf: (candidate: T) => Platform | undefined,
  requested: Platform,
): T | undefined {
  const { variant: own, ...rest } = normalizePlatform(requested);
  const matching = candidates.flatMap((candidate) => {
    const platform = platformOf(candidate);
    if (platform === undefined || !matchesPlatform(rest, platform)) return [];
    return [{ candidate, variant: normalizePlatform(platform).variant }];
  });
  const start = rest.architecture === 'arm' ? armVariants.indexOf(own ?? '') : -1;
  const order: readonly (string | undefined)[] = start === -1 ? [own] : armVariants.slice(start);
  for (const variant of order) {
    const found = matching.find((one) => one.variant === variant);
    if (found !== undefined) return found.candidate;
  }
  return requested.variant ? undefined : matching[0]?.candidate;
}

/** Whether the name of an architecture also implies a variant. */
function impliesVariant({ architecture }: Platform): boolean {
  const name = architecture.toLowerCase();
  return Object.hasOwn(aliases, name) && aliases[name]?.variant !== undefined;
}
