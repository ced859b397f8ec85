import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings';

/** A command as used by completion and documentation. */
export interface CommandNode {
  /** The path from the root, such as `compat signimage`; empty for the root itself. */
  readonly path: string;
  readonly summary: string;
  readonly command: CommandUnknownOpts;
  readonly options: readonly Option[];
  readonly children: readonly CommandNode[];
}

/** Builds the command tree. */
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

/** Returns a node and all nodes below it, in order. */
export function flattenTree(node: CommandNode): CommandNode[] {
  return [node, ...node.children.flatMap(flattenTree)];
}

/** Returns a command and all its ancestors. */
export function lineage(command: CommandUnknownOpts): CommandUnknownOpts[] {
  return command.parent === null ? [command] : [command, ...lineage(command.parent)];
}

/** An option in a completion script. */
export interface CompletedOption {
  /** All spellings: `--format`, `-v`. */
  readonly names: readonly string[];
  readonly description: string;
  /** The possible values; `none` if it takes no value. */
  readonly value: 'none' | 'file' | 'directory' | 'other' | readonly string[];
}

/** A command in a completion script. */
export interface CompletedCommand {
  readonly path: string;
  readonly summary: string;
  readonly subcommands: readonly { readonly name: string; readonly summary: string }[];
  /** The choices for its argument. */
  readonly choices: readonly string[];
  readonly options: readonly CompletedOption[];
}
