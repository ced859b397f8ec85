import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import { addCompat } from './commands/compat.ts';
import { addCompletion } from './commands/completion.ts';
import { addDemo } from './commands/demo.ts';
import { addEnv } from './commands/env.ts';
import { addExists } from './commands/exists.ts';
import { addExtract } from './commands/extract.ts';
import { addInspect } from './commands/inspect.ts';
import { addKeygen } from './commands/keygen.ts';
import { addRegistry } from './commands/registry.ts';
import { addResolve } from './commands/resolve.ts';
import { addSign } from './commands/sign.ts';
import { addSignFile } from './commands/sign-file.ts';
import { addVerify } from './commands/verify.ts';
import { addVersion } from './commands/version.ts';
import { commandTree, flattenTree, lineage } from './completion/tree.ts';
import { examples, examplesHelp, rootExamples } from './options/examples.ts';
import { rootHelp } from './help.ts';
import { applyEnvironment, environmentVariable } from './options/environment.ts';
import { addGlobalOptions } from './options/global-options.ts';
import type { Runtime } from './session/runtime.ts';
import { version } from './output/version.ts';

const groups = {
  'Images:': [addSign, addVerify, addInspect, addResolve, addExists, addExtract],
  'Files and keys:': [addSignFile, addKeygen],
  'Around it:': [addRegistry, addDemo, addCompat, addCompletion, addEnv, addVersion],
} as const;

/** Builds the tree of commands. What a command does is loaded when it runs. */
export function buildProgram(runtime: Runtime): CommandUnknownOpts {
  const root: CommandUnknownOpts = new Command('kmm-sign')
    .description('Signs the kernel modules inside OCI images, in the registry.')
    .version(version, '-V, --version', 'print the version')
    .usage('COMMAND [OPTIONS]')
    .helpOption('-h, --help', 'explain a command')
    .helpCommand('help [command]', 'explain a command')
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
  for (const [heading, commands] of Object.entries(groups)) {
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
