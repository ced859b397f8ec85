import { InvalidArgumentError, Option } from '@commander-js/extra-typings';
import { parsePlatform, type Platform } from '../../registry/model/platform.ts';
import { hashAlgorithms, parseHash } from '../../signer/model/module.ts';

const millisecondsPerUnit: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const maxTimeout = 2 ** 31 - 1;

/** Reads `90s`, `10m`, `1h30m` as milliseconds. @throws InvalidArgumentError */
export function parseDuration(text: string): number {
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(text)) {
    throw new InvalidArgumentError('A duration is a number with a unit, such as 90s, 10m or 1h30m.');
  }
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(ms|s|m|h)/g)) {
    total += Number(amount) * (millisecondsPerUnit[unit ?? ''] ?? Number.NaN);
  }
  if (!(total >= 1 && total <= maxTimeout))
    throw new InvalidArgumentError('It must be between 1ms and 24 days.');
  return Math.round(total);
}

/** Creates a parser of whole numbers within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

/**
 * Collects the values of an option that may be given several times. Such options default to an empty list.
 */
export function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

/** Returns the list; undefined if it is empty or not given. */
export function nonEmpty<T>(values: readonly T[] | undefined): readonly T[] | undefined {
  return values === undefined || values.length === 0 ? undefined : values;
}

/** `--file PATTERN`, repeatable. */
export function fileOption(description: string) {
  return new Option('--file <pattern>', description).argParser(collect).default([] as string[], 'none');
}

/** `--platform OS/ARCH`, repeatable. */
export function platformsOption(description: string) {
  return new Option('--platform <platform>', description)
    .argParser((text: string, previous: readonly Platform[]) => [...previous, parsePlatform(text)])
    .default([] as Platform[], 'none');
}

/** `--platform OS/ARCH`, once. */
export function platformOption(description: string) {
  return new Option('--platform <platform>', description).argParser(parsePlatform);
}

/** `--hash ALGORITHM`, case-insensitive. */
export function hashOption() {
  return new Option('--hash <algorithm>', 'digest algorithm')
    .choices(hashAlgorithms)
    .default('sha256' as const)
    .argParser((text: string) => {
      const hash = parseHash(text);
      if (hash !== undefined) return hash;
      throw new InvalidArgumentError(`Allowed choices are ${hashAlgorithms.join(', ')}.`);
    });
}

/** `--key KEYREF`. */
export function keyOption() {
  return new Option(
    '--key <key>',
    'the private key (required): a file, env://NAME or k8s://NAMESPACE/SECRET[/KEY]; with --sign-file also pkcs11:…',
  ).helpGroup('Key options:');
}

/** `--cert CERTIFICATE`, of the signer. */
export function certificateOption() {
  return new Option(
    '--cert <certificate>',
    "the key's certificate, in the same forms as --key; may be omitted if the key file contains it",
  ).helpGroup('Key options:');
}

/** `--cert CERTIFICATE`, repeatable, to verify with. */
export function trustedCertificatesOption(description: string) {
  return new Option('--cert <certificate>', description).argParser(collect).default([] as string[], 'none');
}

/** `--passphrase-file FILE`. */
export function passphraseFileOption() {
  return new Option(
    '--passphrase-file <file>',
    'file with the passphrase of the key; else KMM_SIGN_PASSWORD or KBUILD_SIGN_PIN',
  ).helpGroup('Key options:');
}
