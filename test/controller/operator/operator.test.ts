import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { get as getSecurely } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { modules, preflightValidations } from '../../../src/controller/observe/cluster/resources.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { leases } from '../../../src/controller/runtime/leader/lease.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { finished } from '../../cli/run-program.ts';
import { type ApiServer, apiServerPrograms, startApiServer } from '../../support/api-server.ts';
import { installCustomResources } from '../../support/custom-resources.ts';
import { freePort } from '../../support/processes.ts';
import { describeWith } from '../../support/programs.ts';
import { logged, logOf, operatorProgram, startOperator } from './start-operator.ts';

const namespace = 'default';
const lease = { namespace, name: 'kmm.sigs.x-k8s.io' };
const defaultElection = 'leaderElection: { leaseDuration: 3s, renewDeadline: 2s, retryPeriod: 200ms }';
const waiting = { timeout: 40_000, interval: 50 };

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
}

async function read(url: string, token?: string): Promise<Answer> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  // The certificate is made when the program starts: nobody can know it, as with controller-runtime.
  const request = url.startsWith('https:')
    ? getSecurely(url, { headers, rejectUnauthorized: false, agent: false })
    : get(url, { headers, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode, body: await text(response) };
}

describeWith(apiServerPrograms, 'kmm-operator run', () => {
  let api: ApiServer;
  let client: ApiClient;
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    directory = await createTemporaryDirectory();
    await installCustomResources(client);
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  async function start(name: string, election = defaultElection) {
    const [health, metrics] = [await freePort(), await freePort()];
    const config = join(directory.path, `${name}.yaml`);
    await writeFile(
      config,
      [
        `healthProbeBindAddress: 127.0.0.1:${health}`,
        `metrics: { bindAddress: '127.0.0.1:${metrics}' }`,
        election,
        'worker: { runAsUser: 0 }',
      ].join('\n'),
    );
    const args = ['--config', config, `--kubeconfig=${api.kubeconfig}`];
    const process = startOperator({ args, directory: directory.path, name, namespace });
    return {
      process,
      health: `http://127.0.0.1:${health}`,
      metrics: `https://127.0.0.1:${metrics}/metrics`,
    };
  }

  const holder = async (): Promise<string | undefined> =>
    (await client.get(leases, lease)).spec?.holderIdentity;

  it('leads, answers probes and gives the lease back when it is stopped', async () => {
    const { process, health } = await start('one');
    const { identity } = await logged(process, 'started leading');
    expect(await holder()).toBe(identity);
    expect(await read(`${health}/healthz`)).toEqual({ status: 200, body: 'ok\n' });
    await vi.waitFor(async () => expect((await read(`${health}/readyz`)).status).toBe(200), waiting);
    await process.stop('SIGTERM');
    expect(process.exitCode).toBe(0);
    expect(await holder()).toBe('');
    const log = logOf(process);
    expect(log.at(-1)).toMatchObject({ level: 'info', message: 'operator stopped', reason: 'stopped' });
    expect(log).toContainEqual(
      expect.objectContaining({ message: 'configuration key is ignored', key: 'worker.runAsUser' }),
    );
  });

  it('shows metrics to those who may see them', async () => {
    const example = readFileSync(
      new URL('../../../fixtures/documents/openshift-4.12/4.8-build-and-sign.yaml', import.meta.url),
      'utf8',
    );
    const module = parseAllDocuments(example)
      .map((document) => document.toJS() as { kind: string; spec: object })
      .find(({ kind }) => kind === 'Module');
    if (module === undefined) throw new Error('the example has no Module');
    await client.create(modules, { metadata: { namespace, name: 'example' }, spec: module.spec });
    await client.create(preflightValidations, {
      metadata: { name: 'next' },
      spec: { kernelVersion: '6.1.0-18-amd64' },
    });
    const { process, metrics } = await start('metrics');
    await logged(process, 'started leading');
    expect((await read(metrics)).status).toBe(401);
    expect((await read(metrics, 'nobody')).status).toBe(401);
    expect((await read(metrics, await tokenFor('reader'))).status).toBe(403);
    const tokenOfAdmin = 'token-of-the-tests';
    await vi.waitFor(async () => {
      const { status, body } = await read(metrics, tokenOfAdmin);
      expect(status).toBe(200);
      expect(body.split('\n')).toEqual(
        expect.arrayContaining([
          'kmm_module_num 1',
          'kmm_in_cluster_build_num 1',
          'kmm_in_cluster_sign_num 1',
          'kmm_device_plugin_num 0',
          'kmm_dra_num 0',
          'kmm_preflight_num 1',
          'leader_election_master_status{name="kmm.sigs.x-k8s.io"} 1',
        ]),
      );
    }, waiting);
    await process.stop('SIGTERM');
    expect(process.output()).not.toContain(tokenOfAdmin);
  });

  /** A token of a new ServiceAccount, which may do nothing. */
  async function tokenFor(name: string): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    await client.request({ method: 'POST', path, body: { metadata: { name } } });
    const answer = await client.request({
      method: 'POST',
      path: `${path}/${name}/token`,
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
    });
    return (answer as { status: { token: string } }).status.token;
  }

  it('ends with 1 when another takes the lease', async () => {
    const { process } = await start('loser');
    await logged(process, 'started leading');
    await client.patch(leases, lease, { spec: { holderIdentity: 'another', leaseDurationSeconds: 60 } });
    await vi.waitFor(() => expect(process.exited).toBe(true), waiting);
    expect(process.exitCode).toBe(1);
    expect(logOf(process).at(-1)).toMatchObject({ message: 'operator stopped', reason: 'lost' });
    await client.delete(leases, lease);
  });

  it('leads without a lease where it is told to', async () => {
    const { process, health } = await start('alone', 'leaderElection: { enabled: false }');
    await logged(process, 'operator started');
    await vi.waitFor(async () => expect((await read(`${health}/readyz`)).status).toBe(200), waiting);
    await process.stop('SIGTERM');
    expect(process.exitCode).toBe(0);
    await expect(holder()).rejects.toThrow('not found');
  });
});

/** Runs the program to its end. */
async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(process.execPath, [operatorProgram, ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', ...env },
  });
  const { exitCode, stdout, stderr } = await finished(child);
  return { code: exitCode, stdout, stderr };
}

describe('kmm-operator', () => {
  it('explains itself, with an example and its exit codes', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    for (const part of ['--config', '--enable-module', 'Examples:', 'Exit codes:', 'OPERATOR_NAMESPACE']) {
      expect(stdout).toContain(part);
    }
  });

  it('names the key that is wrong and ends with 2', async () => {
    await using directory = await createTemporaryDirectory();
    const config = join(directory.path, 'controller_config.yaml');
    await writeFile(config, 'leaderElection: { resourceId: x }\n');
    const { code, stderr } = await run(['run', '-config', config], { OPERATOR_NAMESPACE: 'default' });
    expect(code).toBe(2);
    expect(stderr).toContain('leaderElection.resourceId: unknown key; did you mean resourceID?');
  });

  it.each([
    { args: [], message: 'OPERATOR_NAMESPACE: not set' },
    { args: ['walk'], message: 'Command walk is not known' },
    { args: ['--enable-module'], message: 'Flag -enable-module is not known' },
    { args: ['--log-level=loud'], message: '--log-level' },
  ])('ends with 2 for $args', async ({ args, message }) => {
    const { code, stderr } = await run(args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it('quotes nothing of a kubeconfig that it cannot read', async () => {
    await using directory = await createTemporaryDirectory();
    const file = join(directory.path, 'kubeconfig');
    await writeFile(file, 'token: hidden-value\n  - : [');
    const { code, stderr } = await run(['--kubeconfig', file], { OPERATOR_NAMESPACE: 'default' });
    expect(code).toBe(2);
    expect(stderr).not.toContain('hidden-value');
  });
});
