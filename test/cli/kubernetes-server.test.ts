import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parse } from 'yaml';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../src/shared/temporary.ts';
import { run } from '../deploy/manifests.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { describeWith } from '../support/programs.ts';
import { runProgram, type RunOptions } from './run-program.ts';

const fixture = new URL('../../fixtures/hello/hello.ko', import.meta.url);
const secret = 'k8s://signing/module-key';

describeWith(
  [...apiServerPrograms, 'kubectl', 'bwrap'],
  'a key in a Secret of a real API server',
  (programs) => {
    let directory: TemporaryDirectory;
    let api: ApiServer;

    const kubectl = (...words: string[]) => run('kubectl', [`--kubeconfig=${api.kubeconfig}`, ...words]);

    beforeAll(async () => {
      directory = await createTemporaryDirectory();
      api = await startApiServer();
      await runProgram(['keygen', '-o', directory.path, '--bits', '2048']);
      const [key, cert] = ['signing_key.key', 'signing_key.der'].map((name) => join(directory.path, name));
      await kubectl('create', 'namespace', 'signing');
      await kubectl(
        'create',
        'secret',
        'generic',
        'module-key',
        '-n',
        'signing',
        `--from-file=key=${key}`,
        `--from-file=cert=${cert}`,
      );
      await kubectl('create', 'serviceaccount', 'signer', '-n', 'signing');
      await kubectl('create', 'serviceaccount', 'stranger', '-n', 'signing');
      await kubectl(
        'create',
        'role',
        'signer',
        '-n',
        'signing',
        '--verb=get',
        '--resource=secrets',
        '--resource-name=module-key',
      );
      await kubectl(
        'create',
        'rolebinding',
        'signer',
        '-n',
        'signing',
        '--role=signer',
        '--serviceaccount=signing:signer',
      );
    }, 180_000);

    afterAll(async () => {
      await api?.[Symbol.asyncDispose]();
      await directory?.[Symbol.asyncDispose]();
    });

    /** Signs a copy of the module with what the Secret holds. */
    async function sign(options: RunOptions) {
      const module = join(directory.path, 'module.ko');
      await copyFile(fixture, module);
      const finished = await runProgram(['sign-file', '--key', secret, '--cert', secret, module], options);
      return {
        ...finished,
        isSigned: (await readFile(module)).toString('latin1').endsWith('~Module signature appended~\n'),
      };
    }

    /** How a program runs in a pod of a service account: with its token and the server's certificate in their usual place. */
    async function inPodOf(account: string): Promise<RunOptions> {
      const files = join(directory.path, account);
      await mkdir(files, { recursive: true });
      const { clusters } = parse(await readFile(api.kubeconfig, 'utf8')) as {
        clusters: { cluster: { 'certificate-authority': string } }[];
      };
      await copyFile(clusters[0]?.cluster['certificate-authority'] ?? '', join(files, 'ca.crt'));
      await writeFile(join(files, 'token'), await kubectl('create', 'token', account, '-n', 'signing'));
      const place = '/run/secrets/kubernetes.io/serviceaccount';
      return {
        through: [programs.bwrap, '--dev-bind', '/', '/', '--tmpfs', '/run', '--bind', files, place],
        env: { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(api.port) },
      };
    }

    test('is read as kubectl is set up', async () => {
      const env = { KUBECONFIG: api.kubeconfig, PATH: join(programs.kubectl, '..') };
      expect(await sign({ env })).toMatchObject({ stderr: '', exitCode: 0, isSigned: true });
    });

    test('is read in a pod as its service account', async () => {
      const pod = await inPodOf('signer');
      await vi.waitFor(
        async () => {
          expect(await sign(pod)).toMatchObject({ stderr: '', exitCode: 0, isSigned: true });
        },
        { timeout: 20_000 },
      );
    });

    test('is refused to an account without the right, with exit code 13', async () => {
      const finished = await sign(await inPodOf('stranger'));
      expect(finished).toMatchObject({ exitCode: 13, isSigned: false });
      expect(finished.stderr).toContain('the API server responded with 403');
    });
  },
);
