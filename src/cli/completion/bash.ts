import type { CompletedCommand } from './tree.ts';

/** Returns the completion script for bash 4 and newer. */
export function bashScript(commands: readonly CompletedCommand[]): string {
  return `# bash completion for kmm-sign
_kmm_sign() {
  local current previous path words values word
  current=\${COMP_WORDS[COMP_CWORD]}
  previous=\${COMP_WORDS[COMP_CWORD-1]}
  path=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
${commands
  .filter(({ path }) => path !== '')
  .map(pathCase)
  .join('\n')}
    esac
  done
  values=
  case "$path:$previous" in
${commands.flatMap(valueCases).join('\n')}
  esac
  if [[ $values == @file ]]; then
    compopt -o default 2>/dev/null
    COMPREPLY=()
    return
  elif [[ $values == @directory ]]; then
    compopt -o dirnames 2>/dev/null
    COMPREPLY=()
    return
  elif [[ $values == @other ]]; then
    COMPREPLY=()
    return
  elif [[ -n $values ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
    return
  fi
  words=
  case "$path" in
${commands.map(wordsCase).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ \${#COMPREPLY[@]} -gt 0 || $current == -* ]] || compopt -o default 2>/dev/null
}
complete -F _kmm_sign kmm-sign
`;
}

function pathCase({ path }: CompletedCommand): string {
  const before = path.includes(' ') ? path : ` ${path}`;
  return `      "${before}") path="${path}" ;;`;
}

function valueCases({ path, options }: CompletedCommand): string[] {
  return options
    .filter(({ value }) => value !== 'none')
    .map(({ names, value }) => {
      const patterns = names.map((name) => `"${path}:${name}"`).join('|');
      return `    ${patterns}) values="${typeof value === 'string' ? `@${value}` : value.join(' ')}" ;;`;
    });
}

function wordsCase({ path, subcommands, choices, options }: CompletedCommand): string {
  const words = [
    ...subcommands.map(({ name }) => name),
    ...choices,
    ...options.flatMap(({ names }) => names),
  ];
  return `    "${path}") words="${words.join(' ')}" ;;`;
}
