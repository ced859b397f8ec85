import type { CompletedCommand, CompletedOption } from './tree.ts';

/** Returns the completion script for fish. */
export function fishScript(commands: readonly CompletedCommand[]): string {
  const lines = ['# fish completion for kmm-sign', 'complete -c kmm-sign -f'];
  for (const command of commands) {
    const condition = `-n ${quote(conditionOf(command, commands))}`;
    for (const { name, summary } of command.subcommands) {
      lines.push(`complete -c kmm-sign ${condition} -a ${name} -d ${quote(summary)}`);
    }
    for (const choice of command.choices) lines.push(`complete -c kmm-sign ${condition} -a ${choice}`);
    if (command.path !== '' && command.subcommands.length === 0 && command.choices.length === 0) {
      lines.push(`complete -c kmm-sign ${condition} -F`);
    }
    for (const option of command.options)
      lines.push(`complete -c kmm-sign ${condition} ${optionArguments(option)}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Returns the condition that the words before the cursor select this command and not a subcommand of it. */
function conditionOf({ path, subcommands }: CompletedCommand, commands: readonly CompletedCommand[]): string {
  if (path === '') return '__fish_use_subcommand';
  const seen = path.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`);
  const below = subcommands
    .map(({ name }) => name)
    .filter((name) => commands.some((command) => command.path === `${path} ${name}`));
  if (below.length > 0) seen.push(`not __fish_seen_subcommand_from ${below.join(' ')}`);
  return seen.join('; and ');
}

function optionArguments({ names, description, value }: CompletedOption): string {
  const parts = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  if (typeof value !== 'string') parts.push(`-x -a ${quote(value.join(' '))}`);
  else if (value === 'file') parts.push('-r -F');
  else if (value === 'directory') parts.push(`-x -a ${quote('(__fish_complete_directories)')}`);
  else if (value === 'other') parts.push('-x');
  return [...parts, `-d ${quote(description)}`].join(' ');
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
