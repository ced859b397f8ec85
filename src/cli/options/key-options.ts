import { Option } from '@commander-js/extra-typings';
import { collect } from './values.ts';

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
