import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createConnection, loadConfig } from '../../../src/controller/runtime/api/connection.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith } from '../../support/programs.ts';
import { answerJson, startFaultyServer, type FaultyServer } from './faulty-server.ts';

const credential = { kind: 'ExecCredential', status: { token: 'from-the-plugin' } };

describeWith(['openssl'], 'a kubeconfig with a plugin for credentials', () => {
  let server: FaultyServer;
  let directory: TemporaryDirectory;
  const at = (name: string) => join(directory.path, name);
  const starts = async () => (await readFile(at('starts'), 'utf8')).trim().split('\n').map(Number);

  beforeEach(async () => {
    server = await startFaultyServer();
    directory = await createTemporaryDirectory();
    const script = `#!/bin/sh\necho $$ >> ${at('starts')}\ntest -e ${at('answer')} || exec sleep 60\ncat ${at('answer')}\n`;
    await writeFile(at('plugin'), script, { mode: 0o755 });
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  it('fails with an error that names it while it hangs, and is asked again once it has ended', async () => {
    const config = await loadConfig(server.kubeconfig);
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: at('plugin') };
    config.users = config.users.map((user) => ({ ...user, exec }));
    const connection = createConnection(config);
    const send = (timeout: number, signal?: AbortSignal) =>
      connection.send({ method: 'GET', path: '/version', headers: {}, timeout, signal });
    const failure = { code: 'TIMEOUT', message: expect.stringContaining(at('plugin')) };
    await Promise.all([1, 2].map(() => expect(send(1500)).rejects.toMatchObject(failure)));
    const stopped = new Error('stopped');
    await expect(send(600_000, AbortSignal.abort(stopped))).rejects.toBe(stopped);
    const [first = 0, ...others] = await vi.waitFor(starts);
    expect(others).toEqual([]);
    await writeFile(at('answer'), JSON.stringify(credential));
    process.kill(first, 'SIGKILL');
    let authorization: string | undefined;
    server.answer = (request, response) => {
      ({ authorization } = request.headers);
      answerJson(response, {});
    };
    await vi.waitFor(async () => (await send(5000)).resume(), { timeout: 20_000, interval: 50 });
    expect(authorization).toBe('Bearer from-the-plugin');
    connection.close();
  });
});
