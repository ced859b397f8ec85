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
