import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { bashScript } from './bash.ts';
import { fishScript } from './fish.ts';
import {
  commandTree,
  flattenTree,
  type CommandNode,
  type CompletedCommand,
  type CompletedOption,
} from './tree.ts';
import { zshScript } from './zsh.ts';

/** Generates the completion script for a shell from the command tree. */
export function completionScript(root: CommandUnknownOpts, shell: 'bash' | 'zsh' | 'fish'): string {
  const tree = commandTree(root);
  const commands = flattenTree(tree).map((node) => completedCommand(node, tree.options));
  switch (shell) {
    case 'bash':
      return bashScript(commands);
    case 'zsh':
      return zshScript(commands);
    case 'fish':
      return fishScript(commands);
  }
}

function completedCommand(node: CommandNode, globals: readonly Option[]): CompletedCommand {
  const options =
    node.path === '' ? globals : [...node.options, ...globals.filter(({ long }) => long !== '--version')];
  return {
    path: node.path,
    summary: node.summary,
    subcommands: node.children.map(({ command, summary }) => ({ name: command.name(), summary })),
    choices: node.command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
    options: [
      ...options.map(completedOption),
      { names: ['--help', '-h'], description: 'show help for a command', value: 'none' },
    ],
  };
}

function completedOption(option: Option): CompletedOption {
  const names = [option.long, option.short].filter((name) => name !== undefined);
  return { names, description: option.description, value: valueKind(option) };
}

function valueKind(option: Option): CompletedOption['value'] {
  if (!option.required && !option.optional) return 'none';
  if (option.argChoices !== undefined) return option.argChoices;
  if (/<(?:file|key|certificate|program)>/.test(option.flags)) return 'file';
  return option.flags.includes('<directory>') ? 'directory' : 'other';
}
