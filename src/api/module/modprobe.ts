import * as z from 'zod';

const modprobeArguments = z.object({
  load: z.array(z.string()).min(1).optional(),
  unload: z.array(z.string()).min(1).optional(),
});

/** How modprobe is run, without the rules that tie its fields together. */
export const modprobeFields = z.object({
  moduleName: z
    .string()
    .optional()
    .describe('Name of the kernel module. Required unless rawArgs has both load and unload.'),
  dirName: z.string().default('/opt').describe('Directory in the image that contains lib/modules.'),
  firmwarePath: z
    .string()
    .optional()
    .describe('Directory in the image whose files are copied to /var/lib/firmware of the node.'),
  parameters: z.array(z.string()).optional().describe('Parameters of the module, such as debug=1.'),
  args: modprobeArguments
    .optional()
    .describe('Options of modprobe. Default: -v for loading and -rv for unloading.'),
  rawArgs: modprobeArguments.optional().describe('All arguments of modprobe.'),
  modprobedDir: z
    .string()
    .optional()
    .describe(
      'Directory in the image with files for /etc/modprobe.d of the pod that loads the module. Those in ' +
        'modprobe.d directories of the image are found without it.',
    ),
  modulesLoadingOrder: z
    .array(z.string())
    .optional()
    .describe('Modules that depend on each other, topmost first. The first must be moduleName.'),
});

/** How modprobe is run. */
export const modprobe = modprobeFields.meta({
  'x-kubernetes-validations': [
    {
      rule:
        'has(self.moduleName) && size(self.moduleName) > 0 ' +
        '? !has(self.rawArgs) || (!has(self.rawArgs.load) && !has(self.rawArgs.unload)) ' +
        ': has(self.rawArgs) && has(self.rawArgs.load) && has(self.rawArgs.unload)',
      message:
        'rawArgs cannot be set when moduleName is set; load and unload rawArgs must be set when moduleName is unset',
    },
    {
      rule:
        '!has(self.modulesLoadingOrder) || size(self.modulesLoadingOrder) == 0 || (size(self.modulesLoadingOrder) >= 2 ' +
        '&& has(self.moduleName) && self.modulesLoadingOrder[0] == self.moduleName)',
      message: 'modulesLoadingOrder needs at least two names, and the first must be moduleName',
    },
  ],
});

/** How modprobe is run. */
export type Modprobe = z.output<typeof modprobe>;
