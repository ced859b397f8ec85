import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { bashScript } from './bash.ts';
import { fishScript } from './fish.ts';
import { commandTree, flattenTree, type CommandNode } from './tree.ts';
import { zshScript } from './zsh.ts';

/** What a completion script knows of an option. */
export interface CompletedOption {
  /** Every spelling: `--format`, `-v`. */
  readonly names: readonly string[];
  readonly description: string;
  /** What its value may be: `none` when it takes no value. */
  readonly value: 'none' | 'file' | 'directory' | 'other' | readonly string[];
}

/** What a completion script knows of a command. */
export interface CompletedCommand {
  readonly path: string;
  readonly summary: string;
  readonly subcommands: readonly { readonly name: string; readonly summary: string }[];
  /** Words that its argument may be. */
  readonly choices: readonly string[];
  readonly options: readonly CompletedOption[];
}

/** Writes the completion script for a shell from the tree of commands. */
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
      { names: ['--help', '-h'], description: 'explain a command', value: 'none' },
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
