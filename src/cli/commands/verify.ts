import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import { usageError } from '../output/usage-error.ts';
import { trustedCertificatesOption } from '../options/key-options.ts';
import { addRegistryFlags, readRegistryFlags } from '../options/registry-flags.ts';
import { fileOption, platformsOption } from '../options/values.ts';
import type { Runtime } from '../session/runtime.ts';

/** `kmm-sign verify IMAGE`. */
export function addVerify(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('verify')
    .summary('check the signature of every kernel module of an image')
    .description('Checks that every kernel module of an image is signed by one of the given certificates.')
    .argument('<image>', 'the image')
    .addOption(trustedCertificatesOption('a trusted certificate (required), file or env://NAME; repeatable'))
    .addOption(fileOption('check only this absolute path or glob; repeatable; default every kernel module'))
    .addOption(platformsOption('of an index, check only this platform; repeatable; default all'));
  addRegistryFlags(command);
  command.action((image, options, self) =>
    runtime.perform(async (session) => {
      if (options.cert.length === 0) {
        throw usageError(
          'Option --cert is required',
          'Give --cert, or set KMM_SIGN_CERT; kmm-sign inspect needs none.',
        );
      }
      const { verify } = await import('../actions/verify.ts');
      return verify({ ...options, image, registry: readRegistryFlags(self) }, session);
    }),
  );
}
