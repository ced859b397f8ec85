import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { lineage } from '../completion/tree.ts';

/** An option of this program that does what another program's option does. */
interface Equivalent {
  /** Our options, without values; the advice applies to commands that have one of them. */
  readonly options: readonly string[];
  readonly advice: string;
}

const password: Equivalent = {
  options: ['--password-stdin'],
  advice:
    'Give --username NAME with --password-stdin or --password-file FILE: anyone can read a command line.',
};
const username: Equivalent = {
  options: ['--username'],
  advice: 'Give --username NAME with --password-stdin or --password-file FILE.',
};
const unchecked: Equivalent = {
  options: ['--insecure-skip-tls-verify'],
  advice:
    'Give --plain-http for a registry without TLS, or --insecure-skip-tls-verify to accept any certificate.',
};
const certificate: Equivalent = { options: ['--cert'], advice: 'Give the certificate: --cert FILE.' };
const json: Equivalent = { options: ['--format'], advice: 'Give --format json.' };
const logging: Equivalent = { options: ['--verbosity'], advice: 'Give --verbosity debug.' };
const anonymous: Equivalent = { options: ['--anonymous'], advice: 'Give --anonymous.' };
const platform: Equivalent = { options: ['--platform'], advice: 'Give --platform OS/ARCHITECTURE.' };
const dryRun: Equivalent = { options: ['--dry-run'], advice: 'Give --dry-run.' };
const digestFile: Equivalent = { options: ['--digest-file'], advice: 'Give --digest-file FILE.' };

/** Options of skopeo, podman, buildah, crane, oras, cosign and kaniko, by name. */
const equivalents: Readonly<Record<string, Equivalent>> = {
  '--tls-verify': unchecked,
  '--insecure': unchecked,
  '--insecure-registry': unchecked,
  '--insecure-pull': unchecked,
  '--skip-tls-verify': unchecked,
  '--allow-insecure-registry': unchecked,
  '--allow-http-registry': unchecked,
  '--http': unchecked,
  '--creds': password,
  '--password': password,
  '--registry-password': password,
  '-p': password,
  '--registry-token': password,
  '--token': password,
  '--user': username,
  '-u': username,
  '--registry-username': username,
  '--no-creds': anonymous,
  '--auth-file': { options: ['--authfile'], advice: 'Give --authfile FILE.' },
  '--registry-config': { options: ['--authfile'], advice: 'Give --authfile FILE.' },
  '--registry-cacert': { options: ['--ca-file'], advice: 'Give --ca-file FILE.' },
  '--ca-cert': { options: ['--ca-file'], advice: 'Give --ca-file FILE.' },
  '--json': json,
  '--output': json,
  '-o': json,
  '--digestfile': digestFile,
  '--debug': logging,
  '--verbose': logging,
  '--log-level': logging,
  '--all': {
    options: ['--platform'],
    advice: 'Omit it: without --platform, every image of an index is included.',
  },
  '--multi-arch': platform,
  '--arch': platform,
  '--os': platform,
  '--override-arch': platform,
  '--override-os': platform,
  '--no-push': dryRun,
  '--key': certificate,
  '--certificate': certificate,
  '--certificate-chain': certificate,
  '--retry': { options: ['--retries'], advice: 'Give --retries COUNT.' },
  '--retry-times': { options: ['--retries'], advice: 'Give --retries COUNT.' },
};

/** Prefixes of skopeo's options for each side of a copy, and ours. */
const sides: Readonly<Record<string, string>> = { '--src-': 'from', '--dest-': 'to' };

/**
 * Returns what to write in place of an option that a command does not know: its equivalent here, or that an
 * option of this command takes no value. Undefined if there is no advice.
 */
export function adviceForOption(option: string, command: CommandUnknownOpts): string | undefined {
  const [name = ''] = option.split('=', 1);
  const known = (long: string): boolean =>
    lineage(command).some((one) => one.options.some((each) => each.long === long));
  if (known(name)) return `${name} takes no value: give it alone, or omit it.`;
  const side = Object.keys(sides).find((prefix) => name.startsWith(prefix));
  const plain = side === undefined ? name : `--${name.slice(side.length)}`;
  if (side !== undefined && known(`--${sides[side]}-${plain.slice(2)}`)) {
    return `Give --${sides[side]}-${plain.slice(2)}.`;
  }
  const equivalent = Object.hasOwn(equivalents, plain) ? equivalents[plain] : undefined;
  if (equivalent === undefined || !equivalent.options.some(known)) return undefined;
  if (side === undefined || !known(`--${sides[side]}-authfile`)) return equivalent.advice;
  return `${equivalent.advice} For one side of the copy only: --${sides[side]}-… .`;
}
