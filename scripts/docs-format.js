// Formats commands and their options as Markdown.

const sidePattern = /^--(?:from|to)-/;

/** Returns the content of docs/cli.md. */
export function format({ commands, examples, exitCodes, exitCodeMeanings, environmentVariable }) {
  const [root, ...rest] = commands;
  const leaves = rest.filter(({ children }) => children.length === 0);
  return (
    [
      '# Command line',
      'This file is written by `npm run docs` from the commands themselves.',
      'IMAGE is a registry reference such as `registry.example/vendor/driver:1.0`, or `oci:DIR[:TAG]` for an OCI layout on disk. ' +
        'Data goes to stdout, progress and errors to stderr.',
      leaves
        .map(
          ({ path, summary }) =>
            `- [\`kmm-sign ${path}\`](#kmm-sign-${path.replaceAll(' ', '-')}): ${summary}`,
        )
        .join('\n'),
      '## Options of every command',
      optionTable(root.options, environmentVariable),
      ...leaves.flatMap((node) => section(node, environmentVariable, examples[node.path])),
      '## Exit codes',
      table(
        ['Code', 'Meaning'],
        Object.entries(exitCodes).map(([name, code]) => [String(code), exitCodeMeanings[name]]),
      ),
    ].join('\n\n') + '\n'
  );
}

function section({ path, command, options }, environmentVariable, examples) {
  const parts = [
    `## kmm-sign ${path}`,
    command.description(),
    `\`\`\`\nkmm-sign ${path} ${command.usage()}\n\`\`\``,
  ];
  const args = command.registeredArguments;
  if (args.length > 0) parts.push(args.map((one) => `- \`${one.name()}\`: ${one.description}`).join('\n'));
  const shown = options.filter(({ long }) => !sidePattern.test(long ?? ''));
  if (shown.length > 0) parts.push(optionTable(shown, environmentVariable));
  if (shown.length < options.length) {
    parts.push(
      'Every registry option also has a `--from-…` form for SOURCE and a `--to-…` form for DESTINATION.',
    );
  }
  parts.push(`${examples.length === 1 ? 'Example' : 'Examples'}:`, `\`\`\`\n${examples.join('\n')}\n\`\`\``);
  return parts;
}

function optionTable(options, environmentVariable) {
  return table(
    ['Option', 'Environment variable', 'Meaning'],
    options.map((option) => {
      const variable = environmentVariable(option);
      return [
        `\`${option.flags}\``,
        variable === null ? '' : `\`${variable}\``,
        [option.description, ...facts(option)].join('; '),
      ];
    }),
  );
}

function facts({ argChoices, defaultValue }) {
  const found = [];
  if (argChoices !== undefined)
    found.push(`one of ${argChoices.map((choice) => `\`${choice}\``).join(', ')}`);
  if (typeof defaultValue === 'string' || typeof defaultValue === 'number')
    found.push(`default \`${defaultValue}\``);
  return found;
}

function table(heading, rows) {
  return [heading, heading.map(() => '---'), ...rows].map(tableRow).join('\n');
}

function tableRow(cells) {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
