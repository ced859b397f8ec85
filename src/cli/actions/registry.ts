import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { startRegistry, type StartRegistryOptions } from '../../registry/server/server.ts';
import { whenAborted } from '../../shared/abortable.ts';
import { usageError } from '../output/usage-error.ts';
import type { Session } from '../session/session.ts';

export interface ServeRegistryOptions {
  readonly directory: string;
  readonly listen: string;
  readonly htpasswd?: string | undefined;
  readonly tlsCertFile?: string | undefined;
  readonly tlsKeyFile?: string | undefined;
}

/** Keeps V8's heap small: most of what is allocated lives briefly, which a growing young generation would only retain. */
const heapFlags = ['--semi-space-growth-factor=1'];

/**
 * Leaves code as it was compiled first. Nearly all work of a registry is done by the kernel and by libraries, so that
 * better code saves no time that can be measured, while its compilers take 13 MB. Checking passwords is different.
 */
const compilerFlags = ['--no-turbofan', '--no-maglev'];

/** Runs the embedded registry until the session is stopped, which is its regular end. */
export async function serveRegistry(options: ServeRegistryOptions, session: Session): Promise<void> {
  const flags = options.htpasswd === undefined ? [...heapFlags, ...compilerFlags] : heapFlags;
  for (const flag of flags) setFlagsFromString(flag);
  const { host, port } = parseListenAddress(options.listen);
  const registry = await startRegistry({
    root: options.directory,
    host,
    port,
    tls: await readTls(options),
    basicAuth: options.htpasswd === undefined ? undefined : { htpasswd: options.htpasswd },
    logger: session.logger,
  });
  try {
    session.output({
      json: () => ({
        url: registry.url,
        address: registry.address,
        port: registry.port,
        root: options.directory,
      }),
      text: () => `Listening on ${registry.url}, serving ${options.directory}`,
    });
    await whenAborted(session.signal);
  } finally {
    await registry.close();
  }
}

/** Reads `HOST:PORT`, `[::1]:PORT` or `:PORT`. */
function parseListenAddress(text: string): { host: string; port: number } {
  const [, bracketed, plain = '', digits = ''] =
    /^(?:\[([\da-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = digits === '' ? Number.NaN : Number(digits);
  if (!(port <= 65_535)) {
    throw usageError(
      `"${text}" is not an address to listen on`,
      'Write HOST:PORT, such as 127.0.0.1:5000 or [::1]:5000.',
    );
  }
  return { host: bracketed ?? (plain === '' ? '127.0.0.1' : plain), port };
}

async function readTls({
  tlsCertFile,
  tlsKeyFile,
}: ServeRegistryOptions): Promise<StartRegistryOptions['tls']> {
  if (tlsCertFile === undefined && tlsKeyFile === undefined) return undefined;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) {
    throw usageError('Options --tls-cert-file and --tls-key-file belong together', 'Give both, or neither.');
  }
  const [cert, key] = await Promise.all([readFile(tlsCertFile), readFile(tlsKeyFile)]);
  return { cert, key };
}
