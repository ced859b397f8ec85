import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';

/** A command as completion and documentation see it. */
export interface CommandNode {
  /** From the root: `compat signimage`; empty for the root itself. */
  readonly path: string;
  readonly summary: string;
  readonly command: CommandUnknownOpts;
  readonly options: readonly Option[];
  readonly children: readonly CommandNode[];
}

/** Reads the tree of commands. */
export function commandTree(command: CommandUnknownOpts, parent?: string): CommandNode {
  const path = parent === undefined ? '' : `${parent} ${command.name()}`.trim();
  return {
    path,
    summary: command.summary() || command.description(),
    command,
    options: command.options,
    children: command.commands.map((child) => commandTree(child, path)),
  };
}

/** A node and all below it, in order. */
export function flattenTree(node: CommandNode): CommandNode[] {
  return [node, ...node.children.flatMap(flattenTree)];
}

/** A command and all those above it. */
export function lineage(command: CommandUnknownOpts): CommandUnknownOpts[] {
  return command.parent === null ? [command] : [command, ...lineage(command.parent)];
}

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
