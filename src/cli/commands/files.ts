import { type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { hashOption, wholeNumber } from '../options/shared-options.ts';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign sign-file`. */
export function addSignFile(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('sign-file')
    .summary('sign kernel modules on this machine')
    .description(
      'Signs module files. With --key and --cert, every argument is a module. Without, the arguments are those of ' +
        "the kernel tree's scripts/sign-file: [-dpk] HASH KEY CERT MODULE [DEST], or -s CMS HASH CERT MODULE [DEST].",
    )
    .argument('<arguments...>', 'MODULE…, or HASH KEY CERT MODULE [DEST]')
    .option('--key <key>', 'the private key: a file or env://NAME')
    .option('--cert <certificate>', "the key's certificate")
    .option(
      '--passphrase-file <file>',
      'file with the passphrase of the key; else KMM_SIGN_PASSWORD or KBUILD_SIGN_PIN',
    )
    .addOption(hashOption())
    .option('-k, --key-identifier', 'name the signer by key identifier')
    .option('-p, --save-signature', 'also write the signature alone, as MODULE.p7s')
    .option(
      '-s, --raw-signature <file>',
      'attach this ready-made CMS; HASH CERT MODULE [DEST] follow, or MODULE',
    )
    .option('-d, --detached', 'write only the signature and leave the module unchanged')
    .addOption(
      new Option('--existing <policy>', 'what to do with a module that has another signature')
        .choices(['replace', 'keep', 'fail'] as const)
        .default('replace' as const),
    )
    .action((files, options, self) =>
      runtime.perform(async (session) => {
        const { signFiles } = await import('../actions/sign-file.ts');
        // A variable gives the key for the option form only; sign-file's positional arguments include theirs.
        const positional = self.getOptionValueSource('key') !== 'cli';
        return signFiles(files, { ...options, positional }, session);
      }),
    );
}

const maxDays = 36_500;

/** `kmm-sign keygen`. */
export function addKeygen(root: CommandUnknownOpts, runtime: Runtime): void {
  root
    .command('keygen')
    .summary('create a key and a certificate for MOK enrolment')
    .description(
      'Creates an RSA key (signing_key.key: PKCS#8 PEM, mode 0600) and a certificate for it (signing_key.pem, and signing_key.der for mokutil).',
    )
    .option('-o, --output <directory>', 'directory for the files', '.')
    .addOption(
      new Option('--bits <bits>', 'length of the RSA key')
        .choices(['2048', '3072', '4096'] as const)
        .default('4096' as const),
    )
    .option('--common-name <name>', 'name in the certificate', 'Kernel module signing key')
    .addOption(new Option('--days <days>', 'validity').argParser(wholeNumber(1, maxDays)).default(3650))
    .option('--passphrase-file <file>', 'encrypt the key with the passphrase in this file')
    .option('--force', 'replace existing files')
    .action((options) =>
      runtime.perform(async (session) => {
        const { keygen } = await import('../actions/keygen.ts');
        return keygen(options, session);
      }),
    );
}
