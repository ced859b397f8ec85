import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { secrets } from '../../../src/controller/observe/cluster/resources.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../support/api-server.ts';
import { createAuthority, type CertificateFiles } from '../../support/certificates.ts';
import { freePort } from '../../support/processes.ts';
import { describeWith } from '../../support/programs.ts';
import { logged, startOperator } from '../operator/start-operator.ts';
import { hubWebhookObjects, webhookObjects } from '../../../src/controller/webhook/webhooks.ts';

const namespace = 'default';

/** The certificate that a server shows. */
async function shown(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerX509Certificate();
  socket.destroy();
  return certificate?.fingerprint256 ?? '';
}

function fingerprint({ certificate }: CertificateFiles): string {
  return new X509Certificate(readFileSync(certificate)).fingerprint256;
}

async function statusOf(port: number, path: string): Promise<number | undefined> {
  const sent = request({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    agent: false,
    method: 'POST',
    path,
  });
  sent.end('{}');
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

describeWith(apiServerPrograms, 'kmm-operator webhook', () => {
  let api: ApiServer;
  beforeAll(async () => {
    api = await startApiServer();
  });
  afterAll(() => api[Symbol.asyncDispose]());

  async function start(directory: string, flags: readonly string[], more: string) {
    const port = await freePort();
    const config = join(directory, 'controller_config.yaml');
    await writeFile(config, `{healthProbeBindAddress: "0", webhook: {port: ${port}${more}}}`);
    const args = ['webhook', '--config', config, `--kubeconfig=${api.kubeconfig}`, ...flags];
    const process = startOperator({ args, directory, name: 'webhook', namespace });
    await logged(process, 'webhook started');
    return { process, port };
  }

  it("serves what KMM's flags name, with a certificate that it keeps in a Secret, until it is stopped", async () => {
    await using directory = await createTemporaryDirectory();
    const { process, port } = await start(directory.path, ['--enable-module', '-enable-namespace=true'], '');
    expect(await statusOf(port, '/validate-kmm-sigs-x-k8s-io-v1beta1-module')).toBe(400);
    expect(await statusOf(port, '/validate--v1-namespace')).toBe(400);
    expect(await statusOf(port, '/validate-kmm-sigs-x-k8s-io-v1beta2-preflightvalidation')).toBe(404);
    const client = await api.client();
    const { data = {} } = await client.get(secrets, { namespace, name: webhookObjects.secret });
    const stored = new X509Certificate(Buffer.from(data['tls.crt'] ?? '', 'base64'));
    expect(await shown(port)).toBe(stored.fingerprint256);
    expect(stored.checkHost(`kmm-operator-webhook-service.${namespace}.svc`)).toBeDefined();
    expect(Object.keys(data).toSorted()).toEqual(['ca.crt', 'tls.crt', 'tls.key']);
    await process.stop('SIGTERM');
    expect(process.exitCode).toBe(0);
    expect(process.output()).not.toContain('PRIVATE KEY');
  });

  it("keeps a certificate of its own for a hub, which may be in one cluster with the operator's", async () => {
    await using directory = await createTemporaryDirectory();
    const { process, port } = await start(directory.path, ['--enable-managedclustermodule'], '');
    expect(await statusOf(port, '/validate-hub-kmm-sigs-x-k8s-io-v1beta1-managedclustermodule')).toBe(400);
    expect(await statusOf(port, '/validate-kmm-sigs-x-k8s-io-v1beta1-module')).toBe(404);
    const client = await api.client();
    const { data = {} } = await client.get(secrets, { namespace, name: hubWebhookObjects.secret });
    const stored = new X509Certificate(Buffer.from(data['tls.crt'] ?? '', 'base64'));
    expect(await shown(port)).toBe(stored.fingerprint256);
    expect(stored.checkHost(`kmm-operator-hub-webhook-service.${namespace}.svc`)).toBeDefined();
    await process.stop('SIGTERM');
  });

  it('takes certificates from a folder, and new ones when they come', async () => {
    await using directory = await createTemporaryDirectory();
    const authority = await createAuthority(join(directory.path, 'authority'));
    const [first, second] = [await authority.issueServer('first'), await authority.issueServer('second')];
    const install = async ({ certificate, key }: CertificateFiles): Promise<void> => {
      await copyFile(key, join(directory.path, 'tls.key'));
      await copyFile(certificate, join(directory.path, 'tls.crt'));
    };
    await install(first);
    const { process, port } = await start(directory.path, [], `, certDir: ${directory.path}`);
    expect(await shown(port)).toBe(fingerprint(first));
    await install(second);
    await vi.waitFor(async () => expect(await shown(port)).toBe(fingerprint(second)), {
      timeout: 40_000,
      interval: 100,
    });
    await process.stop('SIGTERM');
  });

  it('ends with 2 if the directory has no certificate', async () => {
    await using directory = await createTemporaryDirectory();
    const config = join(directory.path, 'controller_config.yaml');
    await writeFile(config, `{healthProbeBindAddress: "0", webhook: {port: 1, certDir: ${directory.path}}}`);
    const args = ['webhook', '--config', config, '--kubeconfig', api.kubeconfig];
    const process = startOperator({ args, directory: directory.path, name: 'webhook', namespace });
    await vi.waitFor(() => expect(process.exited).toBe(true), { timeout: 40_000 });
    expect([process.exitCode, process.output()]).toEqual([2, expect.stringContaining('tls.crt or tls.key')]);
  });
});
