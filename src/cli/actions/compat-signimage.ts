import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '../../shared/json.ts';
import { examples, examplesHelp } from '../options/examples.ts';
import { type GoFlags, parseGoFlags } from '../options/go-flags.ts';
import { type RegistryFlags, noRegistryFlags } from '../options/registry-flags.ts';
import { table } from '../output/text.ts';
import { usageError } from '../output/usage-error.ts';
import type { Session } from '../session/session.ts';

const values: Readonly<Record<string, string>> = {
  unsignedimage: 'image to sign',
  signedimage: 'where the signed image goes; default the image to sign with "signed" appended',
  filestosign: 'absolute paths separated by colons; default every kernel module',
  key: 'private key file',
  cert: 'certificate file',
  pullsecret: 'file with a pull secret',
  secretdir: 'directory of pull secrets, searched in full',
};

const booleans: Readonly<Record<string, string>> = {
  'no-push': 'plan only, write nothing',
  insecure: 'push over plain HTTP',
  'skip-tls-verify': 'accept any certificate when pushing',
  'insecure-pull': 'pull over plain HTTP',
  'skip-tls-verify-pull': 'accept any certificate when pulling',
};

const helpCommand = 'kmm-sign compat signimage -help';

/** Signs an image according to the flags of KMM's signimage. */
export async function compatSignimage(args: readonly string[], session: Session): Promise<void> {
  const flags = parseGoFlags(args, {
    values: Object.keys(values),
    booleans: Object.keys(booleans),
    helpCommand,
  });
  if (flags.help) return printHelp(session);
  const source = requiredFlag(flags, 'unsignedimage');
  const key = requiredFlag(flags, 'key');
  const cert = requiredFlag(flags, 'cert');
  const pullSecret = await pullSecrets(flags);
  const { sign } = await import('./sign.ts');
  await sign(
    {
      source,
      destination: flags.values.get('signedimage') ?? `${source}signed`,
      key,
      cert,
      file: (flags.values.get('filestosign') ?? '').split(':').filter((path) => path !== ''),
      dryRun: flags.booleans.has('no-push'),
      cache: true,
      from: registryFlags(pullSecret, flags, '-pull'),
      to: registryFlags(pullSecret, flags, ''),
    },
    session,
  );
}

function requiredFlag(flags: GoFlags, name: string): string {
  const value = flags.values.get(name);
  if (value !== undefined && value !== '') return value;
  throw usageError(`Flag -${name} is required`, `See ${helpCommand}.`);
}

async function pullSecrets({ values: flagValues }: GoFlags): Promise<string[]> {
  const file = flagValues.get('pullsecret');
  const directory = flagValues.get('secretdir');
  const found = directory === undefined ? [] : await findPullSecrets(directory);
  return file === undefined ? found : [file, ...found];
}

function registryFlags(pullSecret: readonly string[], flags: GoFlags, side: '' | '-pull'): RegistryFlags {
  return {
    ...noRegistryFlags,
    pullSecret,
    plainHttp: flags.booleans.has(`insecure${side}`),
    insecureSkipTlsVerify: flags.booleans.has(`skip-tls-verify${side}`),
  };
}

function printHelp(session: Session): void {
  const rows = Object.entries({ ...values, ...booleans }).map(([name, text]) => [`  -${name}`, text]);
  session.output({
    json: () => ({ flags: { ...values, ...booleans } }),
    text: () =>
      `Usage: kmm-sign compat signimage FLAGS\n\n${table(rows)}\n${examplesHelp(examples['compat signimage'] ?? [])}`,
  });
}

/** The largest pull secret: the size limit of a Kubernetes Secret. */
const maxSecretBytes = 1024 * 1024;

/** Finds the files below a directory that contain a JSON object, as mounted pull secrets do. */
async function findPullSecrets(directory: string): Promise<string[]> {
  const found: string[] = [];
  const entries = await readdir(directory, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    // A mounted Secret has its files twice: under their names, and in a directory whose name begins with two
    // dots.
    if (entry.name.startsWith('..')) continue;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) found.push(...(await findPullSecrets(path)));
    else if (await containsJsonObject(path)) found.push(path);
  }
  return found;
}

async function containsJsonObject(path: string): Promise<boolean> {
  const stats = await stat(path);
  if (!stats.isFile() || stats.size > maxSecretBytes) return false;
  const content = parseJson(await readFile(path, 'utf8'));
  return typeof content === 'object' && content !== null && !Array.isArray(content);
}
