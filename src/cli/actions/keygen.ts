import { join } from 'node:path';
import { createDirectory } from '../../shared/create-directory.ts';
import { generateKeyPair } from '../../signer/keygen.ts';
import { passphraseFrom } from '../../signer/keys/reference.ts';
import type { Session } from '../session/session.ts';

export interface KeygenOptions {
  readonly output: string;
  readonly bits: string;
  readonly commonName: string;
  readonly organization?: string | undefined;
  readonly days: number;
  readonly passphraseFile?: string | undefined;
  readonly force?: boolean | undefined;
}

/** Generates a key and its certificate, and prints what to do with them. */
export async function keygen(options: KeygenOptions, session: Session): Promise<void> {
  await createDirectory(options.output);
  const key = join(options.output, 'signing_key.key');
  const certificate = join(options.output, 'signing_key.pem');
  const certificateDer = join(options.output, 'signing_key.der');
  const { fingerprint } = await generateKeyPair({
    commonName: options.commonName,
    organization: options.organization,
    bits: Number(options.bits),
    days: options.days,
    key,
    certificate,
    certificateDer,
    passphrase: await passphraseFrom({ env: session.environment, file: options.passphraseFile })(),
    force: options.force,
  });
  session.output({
    json: () => ({ key, certificate, certificateDer, fingerprint }),
    text: () =>
      [
        `Private key   ${key}`,
        `Certificate   ${certificate}`,
        `For MOK       ${certificateDer}`,
        `SHA-256       ${fingerprint}`,
        '',
        `Enrol it on a machine: mokutil --import ${certificateDer}, then reboot and confirm.`,
      ].join('\n'),
  });
}
