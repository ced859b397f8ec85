import { readdir, readFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startRegistry } from '../../src/registry/server/server.ts';
import { createAuthority, type CertificateFiles } from './certificates.ts';
import { freePort, startProcess, type RunningProcess } from './processes.ts';
import { describeWith, requireProgram, type ProgramName } from './programs.ts';
import { undoBeforeSecondTry } from './second-tries.ts';

/** The registries that tests run against: three third-party ones, and our own. */
export const registryKinds = ['docker-registry', 'distribution', 'zot', 'embedded'] as const;

export type RegistryKind = (typeof registryKinds)[number];

/** The user of registries with Basic authentication. */
export const testUser = { username: 'tester', password: 'correct horse' } as const;

/** testUser's password as hashed by htpasswd -B. */
const testUserHash = '$2b$05$J0uja6aDB0sU5iNDf1L8surlP2gHBaQTwpVTLegun1GY0r1ZnXIJ2';

/** What a registry needs to know about the server that issues its tokens. */
export interface TokenService {
  /** URL of the token endpoint. */
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** PEM file of the certificate whose key signs the tokens. */
  readonly certificate: string;
}

export interface TestRegistryOptions {
  /** @default 'none' */
  readonly authentication?: 'none' | 'basic' | TokenService;
  /** HTTPS with a certificate of a test authority. @default false */
  readonly tls?: boolean;
}

/** A registry with its own storage, on a free port of 127.0.0.1. */
export interface TestRegistry extends AsyncDisposable {
  readonly kind: RegistryKind;
  /** As in references: `127.0.0.1:40123`. */
  readonly host: string;
  readonly url: string;
  /** PEM file of the authority behind its certificate; only with `tls`. */
  readonly caFile: string | undefined;
  /** The directory of its files. */
  readonly storage: string;
  readonly process: RunningProcess | undefined;
  close(): Promise<void>;
}

/** The differences between the kinds that matter to tests. */
export const registryTraits: Record<
  RegistryKind,
  { readonly docker: boolean; readonly referrers: boolean; readonly bearer: boolean }
> = {
  'docker-registry': { docker: true, referrers: false, bearer: true },
  distribution: { docker: true, referrers: false, bearer: true },
  zot: { docker: false, referrers: false, bearer: false },
  embedded: { docker: true, referrers: true, bearer: false },
};

/** Returns the programs that a kind needs. */
export function registryPrograms(kind: RegistryKind): ProgramName[] {
  return kind === 'embedded' ? [] : [kind];
}

/**
 * Defines a suite per kind of registry. `define` gets a function that starts one. A kind whose program is
 * missing is skipped, or fails if everything is required.
 */
export function describeEachRegistry(
  title: string,
  define: (start: (options?: TestRegistryOptions) => Promise<TestRegistry>, kind: RegistryKind) => void,
  kinds: readonly RegistryKind[] = registryKinds,
): void {
  for (const kind of kinds) {
    describeWith(registryPrograms(kind), `${title} (${kind})`, () => {
      define((options) => startTestRegistry(kind, options), kind);
    });
  }
}

/** Starts a registry and waits until it responds. @throws Error with the end of its log */
export async function startTestRegistry(
  kind: RegistryKind,
  options: TestRegistryOptions = {},
): Promise<TestRegistry> {
  const folder = await mkdtemp(join(tmpdir(), `kmm-sign-test-${kind}-`));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 5 });
  try {
    return await startIn(folder, { kind, options, remove });
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Starts Debian's docker-registry (distribution 2.8). */
export const startDockerRegistry = (options?: TestRegistryOptions): Promise<TestRegistry> =>
  startTestRegistry('docker-registry', options);

/** Starts our own registry in this process. */
export const startEmbedded = (options?: TestRegistryOptions): Promise<TestRegistry> =>
  startTestRegistry('embedded', options);

interface StartOptions {
  readonly kind: RegistryKind;
  readonly options: TestRegistryOptions;
  readonly remove: () => Promise<void>;
}

interface Plan {
  readonly folder: string;
  readonly storage: string;
  readonly port: number;
  readonly htpasswd: string | undefined;
  readonly token: TokenService | undefined;
  readonly tls: CertificateFiles | undefined;
}

async function startIn(folder: string, { kind, options, remove }: StartOptions): Promise<TestRegistry> {
  const { authentication = 'none', tls = false } = options;
  const authority = tls ? await createAuthority(join(folder, 'tls')) : undefined;
  const htpasswd = join(folder, 'htpasswd');
  await writeFile(htpasswd, `${testUser.username}:${testUserHash}\n`);
  const plan = {
    folder,
    storage: join(folder, 'storage'),
    htpasswd: authentication === 'basic' ? htpasswd : undefined,
    token: typeof authentication === 'object' ? authentication : undefined,
    tls: await authority?.issueServer('registry'),
  };
  const started = kind === 'embedded' ? await runEmbedded(plan) : await runProgram(kind, plan);
  const forget = undoBeforeSecondTry(async () => {
    const before = new Set(await filesIn(plan.storage));
    return async () => {
      for (const path of await filesIn(plan.storage))
        if (!before.has(path)) await rm(join(plan.storage, path), { recursive: true, force: true });
    };
  });
  const close = async (): Promise<void> => {
    forget();
    await started.stop();
    await remove();
  };
  return {
    kind,
    host: started.host,
    url: `${tls ? 'https' : 'http'}://${started.host}`,
    caFile: authority?.certificate,
    storage: plan.storage,
    process: started.process,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Returns the files and directories of a registry. All but zot look there each time. */
function filesIn(storage: string): Promise<string[]> {
  return readdir(storage, { recursive: true }).catch(() => []);
}

interface RunningRegistry {
  readonly host: string;
  readonly process: RunningProcess | undefined;
  stop(): Promise<void>;
}

async function runEmbedded({ storage, htpasswd, token, tls }: Omit<Plan, 'port'>): Promise<RunningRegistry> {
  if (token !== undefined) throw new Error('the embedded registry knows Basic authentication only');
  const registry = await startRegistry({
    root: storage,
    basicAuth: htpasswd === undefined ? undefined : { htpasswd },
    tls:
      tls === undefined ? undefined : { cert: await readFile(tls.certificate), key: await readFile(tls.key) },
  });
  return { host: registry.address, process: undefined, stop: () => registry.close() };
}

/** Attempts, since another process may take the port in between. */
const attempts = 3;

async function runProgram(
  kind: Exclude<RegistryKind, 'embedded'>,
  plan: Omit<Plan, 'port'>,
): Promise<RunningRegistry> {
  let log = '';
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const port = await freePort();
    const file = join(plan.folder, kind === 'zot' ? 'config.json' : 'config.yml');
    const config = kind === 'zot' ? zotConfig({ ...plan, port }) : distributionConfig({ ...plan, port });
    // JSON is YAML.
    await writeFile(file, JSON.stringify(config));
    const child = startProcess(requireProgram(kind), ['serve', file], { log: join(plan.folder, 'log') });
    if (await answers(child, { port, tls: plan.tls !== undefined })) {
      return { host: `127.0.0.1:${port}`, process: child, stop: () => child.stop() };
    }
    await child.stop('SIGKILL');
    log = child.output();
  }
  throw new Error(`${kind} did not start:\n${log}`);
}

function distributionConfig({ storage, port, htpasswd, token, tls }: Plan): unknown {
  return {
    version: 0.1,
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
    http: {
      addr: `127.0.0.1:${port}`,
      secret: 'of-no-importance',
      ...(tls === undefined ? {} : { tls: { certificate: tls.certificate, key: tls.key } }),
    },
    ...(htpasswd === undefined ? {} : { auth: { htpasswd: { realm: 'test', path: htpasswd } } }),
    ...(token === undefined
      ? {}
      : {
          auth: {
            token: {
              realm: token.realm,
              service: token.service,
              issuer: token.issuer,
              rootcertbundle: token.certificate,
            },
          },
        }),
  };
}

function zotConfig({ storage, port, htpasswd, token, tls }: Plan): unknown {
  const bearer =
    token === undefined
      ? {}
      : { bearer: { realm: token.realm, service: token.service, cert: token.certificate } };
  return {
    distSpecVersion: '1.0.1-dev',
    storage: { rootDirectory: storage, gc: false },
    http: {
      address: '127.0.0.1',
      port: String(port),
      auth: { ...bearer, ...(htpasswd === undefined ? {} : { htpasswd: { path: htpasswd } }) },
      ...(tls === undefined ? {} : { tls: { cert: tls.certificate, key: tls.key } }),
    },
    log: { level: 'warn' },
  };
}

/** Milliseconds for a registry to respond, on a busy machine. */
const patience = 60_000;

async function answers(
  child: RunningProcess,
  { port, tls }: { port: number; tls: boolean },
): Promise<boolean> {
  const deadline = Date.now() + patience;
  while (!child.exited && Date.now() < deadline) {
    if (await responds(port, tls)) return !child.exited;
    await delay(25);
  }
  return false;
}

function responds(port: number, tls: boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const options = { host: '127.0.0.1', port, path: '/v2/', agent: false } as const;
    const sent = tls ? get({ ...options, rejectUnauthorized: false }) : request(options).end();
    sent.once('response', (response) => {
      response.resume();
      resolve(response.statusCode !== undefined);
    });
    sent.once('error', () => resolve(false));
  });
}
