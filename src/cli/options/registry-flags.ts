import { Option, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { collect, wholeNumber } from './shared-options.ts';

const maxRetries = 100;

/** The side of a copy that an option is for; none means both. */
export type Side = 'from' | 'to';

/** The registry options of the command line. */
export interface RegistryFlags {
  readonly authfile: string | undefined;
  readonly username: string | undefined;
  readonly passwordFile: string | undefined;
  readonly passwordStdin: boolean;
  readonly pullSecret: readonly string[];
  readonly anonymous: boolean;
  readonly plainHttp: boolean;
  readonly plainHttpTokenServer: readonly string[];
  readonly insecureSkipTlsVerify: boolean;
  readonly caFile: readonly string[];
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly certDir: string | undefined;
  readonly retries: number | undefined;
}

/** The defaults: the usual credentials, HTTPS, the system's authorities. */
export const noRegistryFlags: RegistryFlags = {
  authfile: undefined,
  username: undefined,
  passwordFile: undefined,
  passwordStdin: false,
  pullSecret: [],
  anonymous: false,
  plainHttp: false,
  plainHttpTokenServer: [],
  insecureSkipTlsVerify: false,
  caFile: [],
  certFile: undefined,
  keyFile: undefined,
  certDir: undefined,
  retries: undefined,
};

type Description = readonly [flags: string, description: string];

const descriptions: readonly Description[] = [
  ['authfile <file>', 'credentials, in the format of docker or containers auth.json'],
  ['username <name>', 'username; its password comes from a file or stdin'],
  ['password-file <file>', 'file with the password'],
  ['password-stdin', 'read the password from stdin'],
  ['pull-secret <file>', 'a Kubernetes pull secret (.dockerconfigjson, .dockercfg); repeatable'],
  ['anonymous', 'use no credentials'],
  ['plain-http', 'use HTTP instead of HTTPS'],
  [
    'plain-http-token-server <host>',
    'with --plain-http: host[:port], other than the registry, that may receive the password over HTTP; repeatable',
  ],
  ['insecure-skip-tls-verify', 'accept any certificate of the registry'],
  ['ca-file <file>', 'certificate authorities to trust in addition to those of the system; repeatable'],
  ['cert-file <file>', 'client certificate for the registry'],
  ['key-file <file>', 'private key of --cert-file'],
  ['cert-dir <directory>', 'directory of *.crt, *.cert and *.key files as in certs.d'],
  ['retries <count>', 'retries of a request after a temporary failure; default 4'],
];

/** Adds the registry options to a command, with `sides` also in their `--from-…` and `--to-…` forms. */
export function addRegistryFlags(command: CommandUnknownOpts, sides: readonly Side[] = []): void {
  for (const [flags, description] of descriptions) {
    command.addOption(registryOption(`--${flags}`, description).helpGroup('Registry options:'));
  }
  for (const side of sides) {
    const end = side === 'from' ? 'source' : 'destination';
    for (const [flags, description] of descriptions) {
      command.addOption(registryOption(`--${side}-${flags}`, `${end}: ${description}`).hideHelp());
    }
  }
}

/**
 * Reads the registry options of a command for one side. An option of that side replaces the one for both; any
 * credential given for a side replaces all those for both.
 */
export function readRegistryFlags(command: CommandUnknownOpts, side?: Side): RegistryFlags {
  const both = new FlagReader(command, '');
  if (side === undefined) return { ...readCredentials(both), ...readConnection(both, both) };
  const one = new FlagReader(command, side);
  const credentials = readCredentials(one);
  return {
    ...(namesCredential(credentials) ? credentials : readCredentials(both)),
    ...readConnection(one, both),
  };
}

type CredentialFlags = Omit<RegistryFlags, keyof ConnectionFlags>;
type ConnectionFlags = Pick<
  RegistryFlags,
  | 'plainHttp'
  | 'plainHttpTokenServer'
  | 'insecureSkipTlsVerify'
  | 'caFile'
  | 'certFile'
  | 'keyFile'
  | 'certDir'
  | 'retries'
>;

function readCredentials(reader: FlagReader): CredentialFlags {
  return {
    authfile: reader.text('authfile'),
    username: reader.text('username'),
    passwordFile: reader.text('passwordFile'),
    passwordStdin: reader.flag('passwordStdin'),
    pullSecret: reader.list('pullSecret'),
    anonymous: reader.flag('anonymous'),
  };
}

function namesCredential(flags: CredentialFlags): boolean {
  return Object.values(flags).some((value) =>
    Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false,
  );
}

function readConnection(one: FlagReader, both: FlagReader): ConnectionFlags {
  const certFile = one.text('certFile');
  // A certificate and its key belong together: they come from the same side.
  const pair = certFile === undefined ? both : one;
  return {
    plainHttp: one.flag('plainHttp') || both.flag('plainHttp'),
    plainHttpTokenServer: one.listOr('plainHttpTokenServer', both),
    insecureSkipTlsVerify: one.flag('insecureSkipTlsVerify') || both.flag('insecureSkipTlsVerify'),
    caFile: one.listOr('caFile', both),
    certFile: pair.text('certFile'),
    keyFile: pair.text('keyFile'),
    certDir: one.text('certDir') ?? both.text('certDir'),
    retries: one.number('retries') ?? both.number('retries'),
  };
}

function registryOption(flags: string, description: string): Option {
  const option = new Option(flags, description);
  if (/pull-secret|ca-file|token-server/.test(flags)) return option.argParser(collect).default([], 'none');
  return flags.includes('retries') ? option.argParser(wholeNumber(0, maxRetries)) : option;
}

/** Reads parsed values by name, with the prefix of a side. */
class FlagReader {
  readonly #command: CommandUnknownOpts;
  readonly #side: string;

  constructor(command: CommandUnknownOpts, side: Side | '') {
    this.#command = command;
    this.#side = side;
  }

  text(name: string): string | undefined {
    const value = this.#value(name);
    return typeof value === 'string' ? value : undefined;
  }

  number(name: string): number | undefined {
    const value = this.#value(name);
    return typeof value === 'number' ? value : undefined;
  }

  flag(name: string): boolean {
    return this.#value(name) === true;
  }

  list(name: string): string[] {
    const value = this.#value(name);
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
  }

  /** Returns this side's list or, if empty, the other's. */
  listOr(name: string, other: FlagReader): string[] {
    const own = this.list(name);
    return own.length > 0 ? own : other.list(name);
  }

  #value(name: string): unknown {
    const attribute =
      this.#side === '' ? name : `${this.#side}${name.charAt(0).toUpperCase()}${name.slice(1)}`;
    return this.#command.getOptionValue(attribute);
  }
}
