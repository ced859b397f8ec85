import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryClient } from '../../../src/registry/image/client.ts';
import { Secret } from '../../../src/shared/secret.ts';
import { storeImage, withParents } from '../../support/images.ts';
import { requireProgram } from '../../support/programs.ts';
import { describeEachRegistry, testUser, type TestRegistry } from '../../support/registries.ts';
import { createTestKey, helloModule, type TestKey } from '../../support/signing.ts';
import { runProgram } from '../run-program.ts';
import { documentedJob, readAction, runStep, shownLog } from './runner.ts';

const execute = promisify(execFile);
const module = 'lib/modules/6.1.0-56-amd64/extra/hello.ko';
/** The name that an image may give a file to speak to the runner, or to break a table. */
const hostile = 'opt/a|b ::add-mask::x <img>.ko';

test('the action runs on the Node of runners, from the file that the build makes', async () => {
  expect((await readAction()).runs).toEqual({ using: 'node24', main: 'dist/action.mjs' });
});

describeEachRegistry(
  'a step with the GitHub Action',
  (start, kind) => {
    let directory: string;
    let registry: TestRegistry;
    let key: TestKey;
    let login: Readonly<Record<string, string>>;
    const image = (name: string): string => `${registry.host}/${name}`;
    const keys = (): Record<string, string> => ({ key: key.key, certificate: key.certificate });

    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
      registry = await start({ authentication: 'basic' });
      key = await createTestKey(directory);
      const explicit = { username: testUser.username, password: new Secret<string>(testUser.password) };
      await using client = new RegistryClient({ plainHttp: true, credentials: { explicit } });
      const entries = withParents(module, await helloModule);
      const vendor = client.repository({ registry: registry.host, repository: 'vendor/driver' });
      for (const tag of ['1.0', '1.0-6.1.0-55-amd64', '1.0-6.1.0-56-amd64'])
        await storeImage(vendor, { layers: [{ entries }] }, tag);
      await storeImage(vendor, { layers: [{ entries: withParents(hostile, await helloModule) }] }, 'hostile');
      // As docker/login-action leaves it.
      await mkdir(join(directory, 'docker'));
      const auth = Buffer.from(`${testUser.username}:${testUser.password}`).toString('base64');
      const config = { auths: { [registry.host]: { auth } } };
      await writeFile(join(directory, 'docker', 'config.json'), JSON.stringify(config));
      login = { DOCKER_CONFIG: join(directory, 'docker') };
    });

    afterAll(async () => {
      await registry?.close();
      await rm(directory, { recursive: true, force: true });
    });

    async function sign(
      inputs: Readonly<Record<string, string>>,
      env: Readonly<Record<string, string>> = {},
    ) {
      return runStep(directory, { source: image('vendor/driver:1.0'), ...inputs }, { ...login, ...env });
    }

    test('signs with a key from a secret, and gives what the registry has as its outputs', async () => {
      const secret = await readFile(key.key, 'utf8');
      const destination = image('ours/driver:1.0');
      const certificate = await readFile(key.certificate, 'utf8');
      const step = await sign({ destination, key: secret, certificate });
      expect(step).toMatchObject({ exitCode: 0, stderr: '' });

      const inspect = [
        'inspect',
        '--tls-verify=false',
        '--creds',
        `${testUser.username}:${testUser.password}`,
      ];
      const { stdout } = await execute(requireProgram('skopeo'), [
        ...inspect,
        '--format={{.Name}}@{{.Digest}}',
        `docker://${destination}`,
      ]);
      expect(step.outputs['image']).toBe(stdout.trim());
      expect(step.outputs['image']).toBe(`${image('ours/driver')}@${step.outputs['digest']}`);
      expect(JSON.parse(step.outputs['signed-files'] ?? '')).toEqual([`/${module}`]);
      expect(step.outputs['exit-code']).toBe('0');
      expect(Object.keys(step.outputs).toSorted()).toEqual(
        Object.keys((await readAction()).outputs).toSorted(),
      );
      expect(JSON.parse(await readFile(step.outputs['report'] ?? '', 'utf8'))).toMatchObject({
        schemaVersion: 1,
        status: 'signed',
        digest: step.outputs['digest'],
      });
      expect(step.stdout).toMatch(
        /^::notice title=kmm-sign::Signed 1 of 1 module of .*@sha256:[0-9a-f]{64}$/m,
      );
      expect(step.summary).toContain('| signed | /lib/modules/6.1.0-56-amd64/extra/hello.ko | linux/amd64 |');
    });

    test('shows nothing of a key, however it was given', async () => {
      const secret = await readFile(key.key, 'utf8');
      const given = [
        await sign({ ...keys(), destination: image('ours/secret:1'), key: secret }),
        await sign(
          { ...keys(), destination: image('ours/secret:2'), key: 'env://SIGNING_KEY' },
          { SIGNING_KEY: Buffer.from(secret).toString('base64') },
        ),
        // Damaged: its line ends are lost, so it is neither PEM nor base64.
        await sign({
          ...keys(),
          destination: image('ours/secret:3'),
          key: secret.replaceAll(/-{5}|\n/g, '!'),
        }),
      ];
      expect(given.map(({ exitCode }) => exitCode)).toEqual([0, 0, 2]);
      const bytes = secret.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
      const encoded = Buffer.from(secret).toString('base64');
      for (const step of given) {
        const shown = shownLog(step) + step.summary + JSON.stringify(step.outputs);
        for (const part of [...bytes, encoded]) expect(shown).not.toContain(part);
      }
    });

    test('verifies, and marks each module that is not as it should be', async () => {
      const { image: signed = '' } = (await sign({ ...keys(), destination: image('ours/verified:1') }))
        .outputs;
      const { certificate } = key;
      const trusted = await sign({ mode: 'verify', source: signed, certificate });
      expect(trusted).toMatchObject({ exitCode: 0, outputs: { image: signed, 'exit-code': '0' } });
      expect(trusted.stdout).toContain('::notice title=kmm-sign::1 of 1 module of ');

      const unsigned = await sign({ mode: 'verify', certificate });
      expect(unsigned).toMatchObject({ exitCode: 10, outputs: { 'signed-files': '[]', 'exit-code': '10' } });
      expect(unsigned.stdout).toMatch(/^::error title=kmm-sign%3A unsigned::\/lib\/modules\/.*hello\.ko/m);
      expect(unsigned.summary).toContain('| unsigned | /lib/modules/');
    });

    if (kind !== 'embedded') return;

    test('does what docs/ci.md shows, for each kernel of its matrix', async () => {
      const { env, kernels, steps } = await documentedJob();
      const values: Record<string, string> = {
        'secrets.DOCKER_AUTH_CONFIG': await readFile(join(directory, 'docker', 'config.json'), 'utf8'),
        'secrets.MODULE_SIGNING_KEY': await readFile(key.key, 'utf8'),
        'vars.MODULE_SIGNING_CERT': await readFile(key.certificate, 'utf8'),
      };
      const replaced = (texts: Readonly<Record<string, string>>): Record<string, string> =>
        Object.fromEntries(
          Object.entries(texts).map(([name, text]) => [
            name,
            text
              .replaceAll(/\$\{\{ ([\w.]+) \}\}/g, (all, expression: string) => values[expression] ?? all)
              .replaceAll('registry.example', registry.host),
          ]),
        );
      for (const kernel of kernels) {
        values['matrix.kernel'] = kernel;
        for (const { id, with: inputs } of steps) {
          const step = await runStep(directory, replaced(inputs), replaced(env));
          expect(step).toMatchObject({ exitCode: 0, stderr: '' });
          for (const [name, value] of Object.entries(step.outputs))
            values[`steps.${id ?? ''}.outputs.${name}`] = value;
        }
      }
      for (const kernel of kernels) {
        const args = ['verify', image(`ours/driver:1.0-${kernel}`), '--cert', key.certificate];
        expect((await runProgram(args, { env: login })).exitCode).toBe(0);
      }
    });

    test('ends with the exit code of the program, and says what failed and what to do', async () => {
      const destination = image('ours/failed:1');
      const missing = await sign({ ...keys(), source: image('vendor/driver:2.0'), destination });
      expect(missing).toMatchObject({ exitCode: 3, outputs: { 'exit-code': '3' } });
      expect(missing.stdout).toMatch(/^::error title=kmm-sign%3A NOT_FOUND%2C exit code 3::/m);
      expect(missing.summary).not.toBe('');

      const denied = await sign({ ...keys(), destination }, { DOCKER_CONFIG: '/nonexistent' });
      expect(denied.exitCode).toBe(4);
      expect((await sign(keys())).stdout).toContain('The input destination is required');
      const wrong = await sign({ ...keys(), destination, hash: 'md5' });
      expect(wrong).toMatchObject({ exitCode: 2, outputs: { 'exit-code': '2' } });
      const resolved = await runProgram(['exists', destination], { env: login });
      expect(resolved.exitCode).toBe(3);
    });

    test('writes nothing in a dry run', async () => {
      const destination = image('ours/planned:1');
      const step = await sign({ ...keys(), destination, 'dry-run': 'true' });
      expect(step).toMatchObject({ exitCode: 0, outputs: { image: '', digest: '' } });
      expect(step.stdout).toContain('::notice title=kmm-sign::Would sign 1 of 1 module of ');
      expect((await runProgram(['exists', destination], { env: login })).exitCode).toBe(3);
    });

    test('lets no name in an image speak to the runner or into the summary', async () => {
      const source = image('vendor/driver:hostile');
      const step = await sign({ mode: 'verify', source, certificate: key.certificate });
      expect(step.exitCode).toBe(10);
      const [row = ''] = step.summary.split('\n').filter((line) => line.startsWith('| unsigned'));
      expect(row.split('|')).toHaveLength(7);
      expect(step.summary).not.toMatch(/<img>|::add-mask/);
      expect(step.stdout.split('\n').filter((line) => line.startsWith('::add-mask'))).toEqual([]);
    });

    test('takes only the files and platforms that it is told', async () => {
      const limits = { ...keys(), destination: image('ours/limited:1') };
      const files = '/opt/nothing/*.ko\n/srv/*.ko';
      expect((await sign({ ...limits, files })).exitCode).toBe(6);
      expect((await sign({ ...limits, platforms: 'linux/arm64, linux/s390x' })).exitCode).toBe(3);
    });
  },
  ['embedded', 'distribution'],
);
