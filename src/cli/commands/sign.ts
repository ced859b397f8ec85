import { type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import {
  certificateOption,
  keyOption,
  passphraseFileOption,
  fileOption,
  hashOption,
  platformsOption,
  wholeNumber,
} from '../options/shared-options.ts';
import { addRegistryFlags, readRegistryFlags } from '../options/registry-flags.ts';
import { required, usageError } from '../output/usage-error.ts';
import type { Runtime } from '../session/runtime.ts';

const maxEpoch = 253_402_300_799;

/** `kmm-sign sign SOURCE DESTINATION`. */
export function addSign(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('sign')
    .summary('publish an image with its kernel modules signed')
    .description(
      'Publishes SOURCE as DESTINATION with its kernel modules signed. Only the layers that contain modules are ' +
        'written, and layers below all --file paths are not even read. The destination tag moves last, after the result was verified.',
    )
    .argument('[source]', 'the image to sign')
    .argument('[destination]', 'where the signed image goes')
    .option(
      '--batch <file>',
      'sign the images of a list in place of one: lines of SOURCE and DESTINATION; # begins a comment, - is stdin',
    )
    .option('--fail-fast', 'with --batch: stop at the first image that fails')
    .addOption(keyOption())
    .addOption(certificateOption())
    .addOption(passphraseFileOption())
    .addOption(fileOption('sign only this absolute path or glob; repeatable; default every kernel module'))
    .option('--allow-unmatched', 'do not fail if a --file matches nothing')
    .addOption(hashOption())
    .option('--key-identifier', 'name the signer by key identifier, as sign-file -k does')
    .addOption(
      new Option('--mode <mode>', 'rewrite the layers in place, or append one layer')
        .choices(['rewrite', 'append'] as const)
        .default('rewrite' as const),
    )
    .addOption(
      new Option('--existing <policy>', 'what to do with modules that have another signature')
        .choices(['replace', 'keep', 'fail'] as const)
        .default('replace' as const),
    )
    .addOption(platformsOption('for an index, sign only this platform; repeatable; default all with modules'))
    .option('--dry-run', 'print the plan and write nothing')
    .option(
      '--trust-annotations',
      'do not read the layers of a destination whose annotations say that it is this result',
    )
    .option('--read-back', 'download the pushed layers again and verify them')
    .addOption(
      new Option(
        '--compression-level <level>',
        'of written layers: gzip 1 to 9, default 1; zstd 1 to 19, default 3',
      ).argParser(wholeNumber(1, 19)),
    )
    .option('--sign-file <program>', "sign with the kernel tree's sign-file at this path")
    .addOption(
      new Option(
        '--source-date-epoch <seconds>',
        'timestamp of new entries; default SOURCE_DATE_EPOCH, else 0',
      ).argParser(wholeNumber(0, maxEpoch)),
    )
    .option(
      '--no-cache',
      'read layers even if an earlier run has, and keep nothing of what they contain in XDG_CACHE_HOME or ~/.cache',
    )
    .option('--digest-file <file>', 'also write the digest of the result to a file, without a newline');
  addRegistryFlags(command, ['from', 'to']);
  command.addHelpText(
    'after',
    '\nEvery registry option also has a --from-… form for SOURCE and a --to-… form for DESTINATION.',
  );
  command.action((source, destination, options, self) =>
    runtime.perform(async (session) => {
      const { batch } = options;
      if (batch !== undefined && source !== undefined)
        throw usageError('--batch names the images: give none as arguments', usage);
      if (batch === undefined && destination === undefined) {
        const missing = source === undefined ? 'source' : 'destination';
        throw usageError(`Missing required argument '${missing}'`, usage);
      }
      const given = { ...options, key: required(options.key, '--key') };
      const sides = { from: readRegistryFlags(self, 'from'), to: readRegistryFlags(self, 'to') };
      if (batch !== undefined) {
        const { signBatch } = await import('../actions/sign-batch.ts');
        return signBatch({ ...given, ...sides, batch }, session);
      }
      const { sign } = await import('../actions/sign.ts');
      return sign({ ...given, ...sides, source: source ?? '', destination: destination ?? '' }, session);
    }),
  );
}

const usage = 'Write kmm-sign sign SOURCE DESTINATION, or kmm-sign sign --batch FILE.';

/** `kmm-sign compat signimage`. */
export function addCompat(root: CommandUnknownOpts, runtime: Runtime): void {
  const compat = root
    .command('compat')
    .summary('accept the command lines of other programs')
    .description('Accepts the command lines of other programs.');
  compat
    .command('signimage')
    .summary("accept the flags of KMM's signimage")
    .description("Signs an image according to the flags of KMM's signimage; -help lists them.")
    .argument('[flags...]', 'flags of signimage, with one dash or two')
    .action((flags) =>
      runtime.perform(async (session) => {
        const { compatSignimage } = await import('../actions/compat-signimage.ts');
        return compatSignimage(flags, session);
      }),
    );
}
