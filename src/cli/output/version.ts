import manifest from '../../../package.json' with { type: 'json' };

/** What the program was built from. */
export interface Build {
  /** The commit, with `-modified` if files differed from it; `unknown` outside of a repository. */
  readonly commit: string;
  /** The time of the commit, in ISO 8601. */
  readonly date: string;
}

/** scripts/build.js puts the value in. */
declare const kmmSignBuild: Build | undefined;

/** The version of the program. */
export const version: string = manifest.version;

const unknown: Build = { commit: 'unknown', date: 'unknown' };

/** What this program was built from; sources that are run as they are do not know it. */
export const build: Build = typeof kmmSignBuild === 'undefined' ? unknown : kmmSignBuild;

/** Versions of the program and of what it runs on, for `--format json`. */
export function versionFacts(): Readonly<Record<string, string>> {
  return {
    version,
    ...build,
    node: process.versions.node,
    openssl: process.versions.openssl ?? '',
    platform: `${process.platform}/${process.arch}`,
  };
}

/** The same for people: the version on a line of its own. */
export function versionText(): string {
  return `${version}\ncommit ${build.commit}\ndate ${build.date}`;
}
