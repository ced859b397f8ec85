import type { CommandUnknownOpts } from '@commander-js/extra-typings';
import {
  trustedCertificatesOption,
  fileOption,
  platformOption,
  platformsOption,
} from '../options/shared-options.ts';
import { addRegistryFlags, readRegistryFlags } from '../options/registry-flags.ts';
import { required, usageError } from '../output/usage-error.ts';
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
    .addOption(platformsOption('for an index, check only this platform; repeatable; default all'))
    .option('--junit-file <file>', 'also write the modules to a file as a JUnit report, each a test case');
  addRegistryFlags(command);
  command.action((image, options, self) =>
    runtime.perform(async (session) => {
      if (options.cert.length === 0) {
        throw usageError(
          'Option --cert is required',
          'Give --cert, or set KMM_SIGN_CERT; kmm-sign inspect needs none.',
        );
      }
      const { verify } = await import('../actions/read-modules.ts');
      return verify({ ...options, image, registry: readRegistryFlags(self) }, session);
    }),
  );
}

/** `kmm-sign inspect IMAGE`. */
export function addInspect(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('inspect')
    .summary('list the kernel modules of an image')
    .description('Lists every kernel module of an image: path, layer, kernel, signer, digest algorithm.')
    .argument('<image>', 'the image')
    .addOption(trustedCertificatesOption('also show which modules this certificate signed; repeatable'))
    .addOption(fileOption('only this absolute path or glob; repeatable; default every kernel module'))
    .addOption(platformsOption('for an index, only this platform; repeatable; default all'));
  addRegistryFlags(command);
  command.action((image, options, self) =>
    runtime.perform(async (session) => {
      const { inspect } = await import('../actions/read-modules.ts');
      return inspect({ ...options, image, registry: readRegistryFlags(self) }, session);
    }),
  );
}

/** `kmm-sign resolve IMAGE`. */
export function addResolve(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('resolve')
    .summary('print the digest of an image')
    .description('Prints the digest that a tag points to.')
    .argument('<image>', 'the image')
    .addOption(platformOption('for an index, the digest of the image for this platform'))
    .option('--full-reference', 'also print the name, as NAME@sha256:…')
    .option('--digest-file <file>', 'also write the digest to a file, without a newline');
  addRegistryFlags(command);
  command.action((image, options, self) =>
    runtime.perform(async (session) => {
      const { resolve } = await import('../actions/resolve.ts');
      return resolve({ image, registry: readRegistryFlags(self), ...options }, session);
    }),
  );
}

/** `kmm-sign exists IMAGE`. */
export function addExists(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('exists')
    .summary('check whether an image exists')
    .description(
      'Checks whether an image exists: exit code 0 if it does, 3 if the registry says that it does not. ' +
        'Any other failure is an error with another exit code.',
    )
    .argument('<image>', 'the image');
  addRegistryFlags(command);
  command.action((image, _, self) =>
    runtime.perform(async (session) => {
      const { exists } = await import('../actions/resolve.ts');
      return exists(image, readRegistryFlags(self), session);
    }),
  );
}

/** `kmm-sign extract IMAGE`. */
export function addExtract(root: CommandUnknownOpts, runtime: Runtime): void {
  const command = root
    .command('extract')
    .summary('copy kernel modules out of an image')
    .description('Copies kernel modules out of an image into a directory, under their paths in the image.')
    .argument('<image>', 'the image')
    .addOption(fileOption('only this absolute path or glob; repeatable; default every kernel module'))
    .option('-o, --output <directory>', 'directory for the files (required)')
    .addOption(platformOption('for an index, the image for this platform'));
  addRegistryFlags(command);
  command.action((image, options, self) =>
    runtime.perform(async (session) => {
      const directory = required(options.output, '--output');
      const { extract } = await import('../actions/read-modules.ts');
      return extract({ ...options, image, directory, registry: readRegistryFlags(self) }, session);
    }),
  );
}
