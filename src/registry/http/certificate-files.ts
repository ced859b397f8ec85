import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RegistryError } from '../model/errors.ts';

/** TLS material in addition to the system's authorities; PEM. */
export interface TlsMaterial {
  readonly authorities: readonly string[];
  readonly certificate?: string;
  readonly key?: string;
}

export interface TlsMaterialSource {
  /** Already in memory; PEM. */
  readonly authorities?: readonly string[] | undefined;
  readonly caFiles: readonly string[];
  readonly clientCertificate?: { readonly certFile: string; readonly keyFile: string } | undefined;
  /** The certs.d directories of this registry; the first that exists is used. */
  readonly certDirectories: readonly string[];
}

/** Returns where docker and containers keep certificates, by host and port (containers-certs.d(5)). */
export function certificateDirectories(registry: string, homeDirectory: string): string[] {
  return [
    join(homeDirectory, '.config/containers/certs.d', registry),
    join('/etc/containers/certs.d', registry),
    join('/etc/docker/certs.d', registry),
  ];
}

/**
 * Reads certificates and keys. Explicit files take precedence over certs.d.
 * @throws RegistryError INVALID_CONFIGURATION
 */
export async function readTlsMaterial(source: TlsMaterialSource): Promise<TlsMaterial> {
  const found = await firstDirectory(source.certDirectories);
  const explicit = await Promise.all(source.caFiles.map((file) => readPem(file, 'CERTIFICATE')));
  const pair = source.clientCertificate ?? found.clientCertificate;
  return {
    authorities: [
      ...(source.authorities ?? []),
      ...explicit,
      ...(await Promise.all(found.caFiles.map((file) => readPem(file, 'CERTIFICATE')))),
    ],
    ...(pair === undefined
      ? {}
      : {
          certificate: await readPem(pair.certFile, 'CERTIFICATE'),
          key: await readPem(pair.keyFile, 'PRIVATE KEY'),
        }),
  };
}

interface CertificateDirectory {
  readonly caFiles: readonly string[];
  readonly clientCertificate?: { readonly certFile: string; readonly keyFile: string };
}

async function firstDirectory(directories: readonly string[]): Promise<CertificateDirectory> {
  for (const directory of directories) {
    const names = await namesIn(directory);
    if (names !== null) return directoryContent(directory, names);
  }
  return { caFiles: [] };
}

async function namesIn(directory: string): Promise<string[] | null> {
  try {
    return (await readdir(directory)).toSorted();
  } catch {
    // Missing or unreadable: ignored, as other tools do.
    return null;
  }
}

function directoryContent(directory: string, names: readonly string[]): CertificateDirectory {
  const caFiles = names.filter((name) => name.endsWith('.crt')).map((name) => join(directory, name));
  for (const name of names) {
    const partner = name.endsWith('.cert')
      ? name.replace(/\.cert$/, '.key')
      : name.endsWith('.key')
        ? name.replace(/\.key$/, '.cert')
        : null;
    if (partner !== null && !names.includes(partner)) {
      throw new RegistryError({
        code: 'INVALID_CONFIGURATION',
        message: `${join(directory, name)} has no ${partner} beside it`,
        hint: 'A client certificate needs both files, NAME.cert and NAME.key.',
        facts: { path: join(directory, name) },
      });
    }
  }
  const cert = names.find((name) => name.endsWith('.cert'));
  if (cert === undefined) return { caFiles };
  const certFile = join(directory, cert);
  return { caFiles, clientCertificate: { certFile, keyFile: certFile.replace(/\.cert$/, '.key') } };
}

async function readPem(file: string, label: 'CERTIFICATE' | 'PRIVATE KEY'): Promise<string> {
  const refuse = (problem: string): never => {
    throw new RegistryError({
      code: 'INVALID_CONFIGURATION',
      message: `${file} ${problem}`,
      hint: `Provide a PEM file with -----BEGIN ${label}-----.`,
      facts: { path: file },
    });
  };
  const text = await readFile(file, 'latin1').catch((error: NodeJS.ErrnoException) =>
    refuse(`cannot be read (${error.code ?? 'unknown error'})`),
  );
  if (!new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(text))
    refuse(`contains no ${label.toLowerCase()} in PEM`);
  return text;
}
