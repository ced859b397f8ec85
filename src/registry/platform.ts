import { RegistryError } from './errors.ts';

/** A platform as in an image index (image-spec, image-index.md, "platform"). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly osVersion?: string;
}

const pattern = /^([a-z0-9_]+)\/([a-z0-9_]+)(?:\/([a-z0-9_.]+))?(?::([A-Za-z0-9_.-]+))?$/;

/** The variants that are meant where none is written, as container runtimes have it. */
const defaultVariants: Readonly<Record<string, string>> = { arm64: 'v8', arm: 'v7', amd64: 'v1' };

/** Parses `os/architecture[/variant][:os-version]`, such as `linux/arm64/v8`. @throws RegistryError INVALID_REFERENCE */
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

/** Writes a platform as `parsePlatform` reads it. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant, osVersion } = platform;
  return `${os}/${architecture}${variant ? `/${variant}` : ''}${osVersion ? `:${osVersion}` : ''}`;
}

/**
 * Tells whether an image's platform is the one asked for. What was not asked for (variant, version) may be
 * anything; a variant that an image does not state is the default one, so `arm64` is `arm64/v8`.
 */
export function matchesPlatform(wanted: Platform, actual: Platform): boolean {
  return (
    wanted.os === actual.os &&
    wanted.architecture === actual.architecture &&
    (!wanted.variant || wanted.variant === (actual.variant || defaultVariants[actual.architecture])) &&
    (!wanted.osVersion || wanted.osVersion === actual.osVersion)
  );
}
