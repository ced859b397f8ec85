import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { addKeygen, addSignFile } from './commands/files.ts';
import { addExists, addExtract, addInspect, addResolve, addVerify } from './commands/images.ts';
import { addCompat, addSign } from './commands/sign.ts';
import { addCompletion, addDemo, addEnv, addRegistry, addVersion } from './commands/tools.ts';
import { commandTree, flattenTree, lineage } from './completion/tree.ts';
import { examples, examplesHelp, rootExamples } from './options/examples.ts';
import { exitCodeMeanings, exitCodes } from './output/exit-codes.ts';
import { applyEnvironment, environmentVariable } from './options/environment.ts';
import { addGlobalOptions } from './session/session.ts';
import type { Runtime } from './session/runtime.ts';
import { version } from './output/version.ts';

/** Commands that need to know no other command. */
const imageCommands: Readonly<Record<string, (root: CommandUnknownOpts, runtime: Runtime) => void>> = {
  sign: addSign,
  verify: addVerify,
  inspect: addInspect,
  resolve: addResolve,
  exists: addExists,
  extract: addExtract,
};

const groups = {
  'Images:': Object.values(imageCommands),
  'Files and keys:': [addSignFile, addKeygen],
  'Other:': [addRegistry, addDemo, addCompat, addCompletion, addEnv, addVersion],
} as const;

/**
 * Builds the command tree, or of it no more than an image command that is named first, which takes less than all others.
 * The implementation of a command is loaded when it runs.
 */
export function buildProgram(runtime: Runtime, [name = '']: readonly string[] = []): CommandUnknownOpts {
  const root: CommandUnknownOpts = new Command('kmm-sign')
    .description('Signs the kernel modules inside OCI images, in the registry.')
    .version(version, '-V, --version', 'print the version')
    .usage('COMMAND [OPTIONS]')
    .helpOption('-h, --help', 'show help for a command')
    .helpCommand('help [command]', 'show help for a command')
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .configureHelp({
      showGlobalOptions: true,
      optionDescription: (option) => {
        const variable = environmentVariable(option);
        const text = [option.description, ...optionFacts(option)].join(' ');
        return variable === null || option.long === '--help' ? text : `${text} [${variable}]`;
      },
    });
  addGlobalOptions(root);
  const only = Object.hasOwn(imageCommands, name) ? imageCommands[name] : undefined;
  for (const [heading, commands] of Object.entries(only === undefined ? groups : { 'Images:': [only] })) {
    root.commandsGroup(heading);
    for (const add of commands) add(root, runtime);
  }
  root.addHelpText('after', rootHelp);
  addExamples(root);
  root.hook('preAction', (_, command) => {
    for (const level of lineage(command)) applyEnvironment(level, process.env);
    runtime.start(root);
  });
  return root;
}

function addExamples(root: CommandUnknownOpts): void {
  for (const { path, command } of flattenTree(commandTree(root))) {
    const lines = path === '' ? rootExamples : examples[path];
    if (lines !== undefined) command.addHelpText('after', examplesHelp(lines));
  }
}

function optionFacts(option: { argChoices?: string[]; defaultValue?: unknown }): string[] {
  const facts: string[] = [];
  if (option.argChoices !== undefined) facts.push(option.argChoices.join('|'));
  const { defaultValue } = option;
  if (typeof defaultValue === 'string' || typeof defaultValue === 'number')
    facts.push(`default ${defaultValue}`);
  return facts.length === 0 ? [] : [`(${facts.join(', ')})`];
}

/** Returns the end of the root command's help text. */
function rootHelp(): string {
  const codes = Object.entries(exitCodeMeanings).map(
    ([name, meaning]) => `  ${String(exitCodeNumber(name)).padEnd(4)} ${meaning}`,
  );
  return [
    '',
    'IMAGE is a reference such as registry.example/vendor/driver:1.0, or oci:DIR[:TAG] for an OCI layout on disk.',
    'Every option has an environment variable, in brackets above; kmm-sign env lists them all.',
    '',
    'Exit codes:',
    ...codes,
  ].join('\n');
}

function exitCodeNumber(name: string): number {
  return new Map<string, number>(Object.entries(exitCodes)).get(name) ?? exitCodes.unexpected;
}
