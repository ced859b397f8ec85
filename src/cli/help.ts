import { exitCodeMeanings, exitCodes } from './output/exit-codes.ts';

/** What stands below the help text of the root command. */
export function rootHelp(): string {
  const codes = Object.entries(exitCodeMeanings).map(
    ([name, meaning]) => `  ${String(exitCodeNumber(name)).padEnd(4)} ${meaning}`,
  );
  return [
    '',
    'IMAGE is a reference such as registry.example/vendor/driver:1.0, or oci:DIR[:TAG] for an OCI layout on disk.',
    'Every option has an environment variable, in brackets above; kmm-sign env lists them all.',
    '',
    'Exit codes:',
    ...codes,
  ].join('\n');
}

function exitCodeNumber(name: string): number {
  return new Map<string, number>(Object.entries(exitCodes)).get(name) ?? exitCodes.unexpected;
}
