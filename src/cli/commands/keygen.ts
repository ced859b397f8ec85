import { Option, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { wholeNumber } from '../options/values.ts';
import type { Runtime } from '../session/runtime.ts';

const longestValidity = 36_500;

/** `kmm-sign keygen`. */
export function addKeygen(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('keygen')
    .summary('make a key and a certificate fit for MOK enrolment')
    .description(
      'Makes an RSA key (signing_key.key: PKCS#8 PEM, mode 0600) and a certificate for it (signing_key.pem, and signing_key.der for mokutil).',
    )
    .option('-o, --output <directory>', 'where the files go', '.')
    .addOption(
      new Option('--bits <bits>', 'length of the RSA key')
        .choices(['2048', '3072', '4096'] as const)
        .default('4096' as const),
    )
    .option('--common-name <name>', 'name in the certificate', 'Kernel module signing key')
    .addOption(
      new Option('--days <days>', 'validity').argParser(wholeNumber(1, longestValidity)).default(3650),
    )
    .option('--passphrase-file <file>', 'encrypt the key with the passphrase in this file')
    .option('--force', 'replace files that are there')
    .action((options) =>
      runtime.perform(async (session) => {
        const { keygen } = await import('../actions/keygen.ts');
        return keygen(options, session);
      }),
    );
}
