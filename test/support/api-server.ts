import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { KubeConfig } from '@kubernetes/client-node';
import { stringify } from 'yaml';
import { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../src/controller/runtime/api/connection.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { createAuthority, loopback, type TestAuthority } from './certificates.ts';
import { Etcd } from './etcd.ts';
import { freePort, startProcess, type RunningProcess } from './processes.ts';
import { requireProgram } from './programs.ts';
import { undoBeforeSecondTry } from './second-tries.ts';

/** The real programs that an API server needs. */
export const apiServerPrograms = ['etcd', 'kube-apiserver', 'openssl'] as const;

/** Milliseconds within which a server must be ready. */
const startLimit = 120_000;
/** Milliseconds between two looks whether all is as before, and until the second try begins in any case. */
const settleInterval = 1000;
const settleLimit = 15_000;
const token = 'token-of-the-tests';

/** A real kube-apiserver with its own etcd. Nothing runs pods, and no controllers run. */
export interface ApiServer extends AsyncDisposable {
  readonly port: number;
  /** Path of a kubeconfig with all permissions. */
  readonly kubeconfig: string;
  /** PEM file of the authority that issued its certificate. */
  readonly authority: string;
  /** The token in the kubeconfig. */
  readonly token: string;
  /** Returns the token of a node's kubelet. */
  nodeToken(name: string): string;
  /** Creates a client with all permissions, for the given port. @default the server's own */
  client(port?: number, fieldManager?: string): Promise<ApiClient>;
  /** Kills the server, as in a crash. */
  kill(): Promise<void>;
  /** Restarts it on the same port with the same data. */
  start(): Promise<void>;
  /** Discards the history from which a watch could resume. */
  compact(): Promise<void>;
}

/** What an API server needs to know that real pods and kubelets use. */
export interface ApiServerSurroundings {
  /** Addresses under which it is reached besides 127.0.0.1. */
  readonly gateway: string;
  readonly apiService: string;
  readonly serviceRange: string;
  /** Of the nodes whose kubelets may use it. */
  readonly names: readonly string[];
}

/**
 * Starts etcd and kube-apiserver on 127.0.0.1. With surroundings, service accounts are admitted as usual, pods of
 * services are reached directly, and nodes may do what the Node authorizer says; otherwise pods need no account.
 * `more` are further arguments of kube-apiserver.
 */
export async function startApiServer(
  surroundings?: ApiServerSurroundings,
  more: readonly string[] = [],
): Promise<ApiServer> {
  const directory = await createTemporaryDirectory();
  const [port, etcdPort, peerPort] = [await freePort(), await freePort(), await freePort()];
  const at = (name: string): string => join(directory.path, name);
  const etcd = startProcess(
    requireProgram('etcd'),
    [
      ['--name=test', `--data-dir=${at('etcd')}`, '--unsafe-no-fsync', '--log-level=warn'],
      [
        `--listen-client-urls=http://127.0.0.1:${etcdPort}`,
        `--advertise-client-urls=http://127.0.0.1:${etcdPort}`,
      ],
      [
        `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`,
      ],
      [`--initial-cluster=test=http://127.0.0.1:${peerPort}`],
    ].flat(),
    { log: at('etcd.out') },
  );
  const args = [...(await serverArguments({ at, port, etcdPort, surroundings })), ...more];
  await writeKubeconfig(at('kubeconfig'), at('certificates/ca.crt'), port);
  let server: RunningProcess | undefined;
  const store = new Etcd(etcdPort);
  const forget = undoBeforeSecondTry(async () => {
    const revision = await store.revision();
    return async () => {
      if (server?.exited === true) await api.start();
      // Whoever is at work may write once more, and know something for a moment that is so no longer.
      const limit = AbortSignal.timeout(settleLimit);
      while ((await store.restore(revision)) && !limit.aborted) await sleep(settleInterval);
    };
  });

  const api: ApiServer = {
    port,
    kubeconfig: at('kubeconfig'),
    authority: at('certificates/ca.crt'),
    token,
    nodeToken,
    async client(of = port, fieldManager = 'test') {
      const config = await loadConfig(at('kubeconfig'));
      moveTo(config, of);
      return new ApiClient({
        connection: createConnection(config),
        fieldManager,
        userAgent: 'kmm-sign-tests',
      });
    },
    async kill() {
      await server?.stop('SIGKILL');
    },
    async start() {
      server = startProcess(requireProgram('kube-apiserver'), args, { log: at('apiserver.out') });
      await waitUntilReady(await api.client(), server);
    },
    async compact() {
      await store.compact();
    },
    async [Symbol.asyncDispose]() {
      forget();
      await server?.stop('SIGKILL');
      await etcd.stop('SIGKILL');
      await directory[Symbol.asyncDispose]();
    },
  };
  try {
    await api.start();
  } catch (error) {
    await api[Symbol.asyncDispose]();
    throw error;
  }
  return api;
}

function nodeToken(name: string): string {
  return `${token}-${name}`;
}

async function serverArguments({
  at,
  port,
  etcdPort,
  surroundings,
}: {
  at: (name: string) => string;
  port: number;
  etcdPort: number;
  surroundings: ApiServerSurroundings | undefined;
}): Promise<string[]> {
  const authority = await createAuthority(at('certificates'));
  const addresses = surroundings === undefined ? [] : [surroundings.gateway, surroundings.apiService];
  const names = [loopback, ...addresses.map((address) => `IP:${address}`)].join(',');
  const tls = await authority.issueServer('apiserver', names);
  const key = at('service-accounts.key');
  await promisify(execFile)(requireProgram('openssl'), [
    'genpkey',
    '-algorithm',
    'RSA',
    '-pkeyopt',
    'rsa_keygen_bits:2048',
    '-out',
    key,
  ]);
  const nodes = (surroundings?.names ?? []).map(
    (name) => `${nodeToken(name)},system:node:${name},${name},"system:nodes"\n`,
  );
  await writeFile(at('tokens'), `${token},admin,admin,"system:masters"\n${nodes.join('')}`, { mode: 0o600 });
  return [
    ['--bind-address=127.0.0.1', `--secure-port=${port}`, `--etcd-servers=http://127.0.0.1:${etcdPort}`],
    [`--tls-cert-file=${tls.certificate}`, `--tls-private-key-file=${tls.key}`],
    [`--token-auth-file=${at('tokens')}`, '--allow-privileged=true'],
    ['--service-account-issuer=https://kubernetes.default.svc', `--service-account-key-file=${key}`],
    [`--service-account-signing-key-file=${key}`, '--endpoint-reconciler-type=none'],
    ['--etcd-compaction-interval=0', `--cert-dir=${at('apiserver')}`],
    // The address at which it requests logs from a node's kubelet.
    ['--kubelet-preferred-address-types=InternalIP'],
    surroundings === undefined ? isolatedArguments : await realArguments(surroundings, authority),
  ].flat();
}

const isolatedArguments = [
  '--authorization-mode=RBAC',
  '--disable-admission-plugins=ServiceAccount',
  '--service-cluster-ip-range=10.96.0.0/16',
];

async function realArguments(
  { serviceRange }: ApiServerSurroundings,
  authority: TestAuthority,
): Promise<string[]> {
  const kubeletClient = await authority.issueClient('kube-apiserver-kubelet-client');
  return [
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    `--service-cluster-ip-range=${serviceRange}`,
    // On by default from 1.35 on.
    '--feature-gates=ImageVolume=true',
    // No proxy of services runs: webhooks are called at the addresses of their pods.
    '--enable-aggregator-routing=true',
    `--kubelet-client-certificate=${kubeletClient.certificate}`,
    `--kubelet-client-key=${kubeletClient.key}`,
  ];
}

async function writeKubeconfig(file: string, authority: string, port: number): Promise<void> {
  const cluster = { server: `https://127.0.0.1:${port}`, 'certificate-authority': authority };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  };
  await writeFile(file, stringify(config), { mode: 0o600 });
}

function moveTo(config: KubeConfig, port: number): void {
  config.clusters = config.clusters.map((cluster) => ({ ...cluster, server: `https://127.0.0.1:${port}` }));
}

async function waitUntilReady(client: ApiClient, server: RunningProcess): Promise<void> {
  const limit = AbortSignal.timeout(startLimit);
  for (;;) {
    try {
      const response = await client.open({ method: 'GET', path: '/readyz', timeout: 2000 });
      response.resume();
      return;
    } catch (error) {
      if (server.exited || limit.aborted) {
        throw new Error(`the API server did not start: ${server.output()}`, { cause: error });
      }
      await sleep(100);
    }
  }
}
