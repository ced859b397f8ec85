import type { CompletedCommand, CompletedOption } from './tree.ts';

/** Returns the completion script for zsh: one function per command, found by the words typed so far. */
export function zshScript(commands: readonly CompletedCommand[]): string {
  return `#compdef kmm-sign
# zsh completion for kmm-sign
${commands.map(commandFunction).join('\n')}
if [[ "\${funcstack[1]}" == _kmm-sign ]]; then
  _kmm-sign "$@"
else
  compdef _kmm-sign kmm-sign
fi
`;
}

function commandFunction(command: CompletedCommand): string {
  const name = functionName(command.path);
  const specs = command.options.flatMap(optionSpecs).map((spec) => `    ${spec} \\`);
  return command.subcommands.length > 0 ? dispatcher(name, command, specs) : leaf(name, command, specs);
}

function leaf(name: string, { choices }: CompletedCommand, specs: readonly string[]): string {
  const rest = choices.length > 0 ? `(${choices.join(' ')})` : '_files';
  return `${name}() {
  _arguments -s -S \\
${specs.join('\n')}
    '*::argument:${rest}'
}`;
}

function dispatcher(name: string, command: CompletedCommand, specs: readonly string[]): string {
  const subcommands = command.subcommands.map(
    (child) => `    ${quote(`${child.name}:${child.summary.replaceAll(':', '\\:')}`)}`,
  );
  const cases = command.subcommands.map(
    (child) => `      ${child.name}) ${functionName(`${command.path} ${child.name}`)} ;;`,
  );
  return `${name}() {
  local curcontext="$curcontext" state line
  local -a subcommands=(
${subcommands.join('\n')}
  )
  _arguments -C \\
${specs.join('\n')}
    '1: :->command' \\
    '*:: :->arguments'
  case $state in
    command) _describe command subcommands ;;
    arguments)
      case $words[1] in
${cases.map((line) => `  ${line}`).join('\n')}
      esac ;;
  esac
}`;
}

function functionName(path: string): string {
  return path.trim() === '' ? '_kmm-sign' : `_kmm-sign_${path.trim().replaceAll(' ', '_')}`;
}

function optionSpecs({ names, description, value }: CompletedOption): string[] {
  const text = description.replace(/[[\]:]/g, '\\$&');
  return names.map((name) => quote(`*${name}[${text}]${valueSpec(value)}`));
}

function valueSpec(value: CompletedOption['value']): string {
  if (typeof value !== 'string') return `:value:(${value.join(' ')})`;
  if (value === 'none') return '';
  if (value === 'file') return ':file:_files';
  return value === 'directory' ? ':directory:_files -/' : ':value: ';
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
