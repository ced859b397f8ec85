import { readFile } from 'node:fs/promises';
import { request, type RequestOptions } from 'node:https';
import { text as readAll } from 'node:stream/consumers';
import * as z from 'zod/mini';
import { parseJson } from '../../shared/json.ts';
import { CliError } from '../output/usage-error.ts';

/** Where a pod finds its service account (Kubernetes, "Accessing the API from within a Pod"). */
const serviceAccountDirectory = '/var/run/secrets/kubernetes.io/serviceaccount';
const requestTimeout = 30_000;
/** A Secret has at most 1 MiB; it is larger in JSON and base64. */
const maxResponseBytes = 4 * 1024 * 1024;

/** Names that Kubernetes allows, which contain nothing that could alter a URL or a command line. */
const namePattern = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

const secretSchema = z.object({ data: z.optional(z.record(z.string(), z.string())) });

/** The name of a Secret, in its namespace. */
export interface SecretName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Reads a Secret: in a pod with its service account, elsewhere with `kubectl` as configured.
 * @throws CliError SECRET_UNREADABLE
 */
export async function readSecret(
  secret: SecretName,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Record<string, Uint8Array>> {
  if (![secret.namespace, secret.name].every((name) => namePattern.test(name))) {
    throw unreadable(secret, 'this is not a name that Kubernetes allows');
  }
  const host = environment['KUBERNETES_SERVICE_HOST'];
  const port = environment['KUBERNETES_SERVICE_PORT'] ?? '443';
  const response =
    host === undefined
      ? await getWithKubectl(secret, signal)
      : await getFromServer(secret, { host, port, signal });
  return parseSecret(response, secret);
}

/** @param connection host and port of the API server, and the signal that cancels the request */
async function getFromServer(secret: SecretName, connection: RequestOptions): Promise<string> {
  try {
    const [token, ca] = await Promise.all([
      readFile(`${serviceAccountDirectory}/token`, 'utf8'),
      readFile(`${serviceAccountDirectory}/ca.crt`, 'utf8'),
    ]);
    return await get({
      ...connection,
      path: `/api/v1/namespaces/${secret.namespace}/secrets/${secret.name}`,
      ca,
      headers: { accept: 'application/json', authorization: `Bearer ${token.trim()}` },
      timeout: requestTimeout,
    });
  } catch (error) {
    throw unreadable(secret, error instanceof Error ? error.message : 'the API server did not respond');
  }
}

function get(options: RequestOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(options, (response) => {
      if (response.statusCode !== 200) {
        response.destroy();
        return reject(new Error(`the API server responded with ${response.statusCode}`));
      }
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxResponseBytes) response.destroy(new Error('the response is too large'));
      });
      readAll(response).then(resolve, reject);
    });
    sent.on('timeout', () => sent.destroy(new Error('the request to the API server timed out')));
    sent.on('error', reject);
    sent.end();
  });
}

async function getWithKubectl(secret: SecretName, signal: AbortSignal): Promise<string> {
  const { execa } = await import('execa');
  const result = await execa(
    'kubectl',
    ['get', 'secret', secret.name, '-n', secret.namespace, '-o', 'json'],
    {
      cancelSignal: signal,
      maxBuffer: maxResponseBytes,
      timeout: requestTimeout,
      stdin: 'ignore',
      reject: false,
    },
  );
  if (result.exitCode === 0) return result.stdout;
  throw unreadable(secret, result.code === 'ENOENT' ? 'kubectl is not installed' : 'kubectl failed');
}

function parseSecret(response: string, secret: SecretName): Record<string, Uint8Array> {
  const parsed = secretSchema.safeParse(parseJson(response));
  if (!parsed.success) throw unreadable(secret, 'the response is not a Secret');
  const entries = Object.entries(parsed.data.data ?? {});
  return Object.fromEntries(entries.map(([key, value]) => [key, Buffer.from(value, 'base64')]));
}

function unreadable({ namespace, name }: SecretName, reason: string): CliError {
  return new CliError({
    code: 'SECRET_UNREADABLE',
    message: `The Secret ${namespace}/${name} cannot be read: ${reason}`,
    hint: 'Within a pod its service account must be allowed to get the Secret; elsewhere kubectl must be.',
    facts: { namespace, secret: name },
  });
}
