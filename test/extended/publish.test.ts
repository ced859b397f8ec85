import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import {
  commitAll,
  lockPackages,
  makeCleanCheckout,
  nameRelease,
  runIn,
  runRelease,
} from '../release/clean-checkout.ts';
import { describeWith } from '../support/programs.ts';
import { startTestRegistry, testUser, type TestRegistry } from '../support/registries.ts';
import { createTestKey } from '../support/signing.ts';
import { startNpmRegistry, type NpmRegistry } from './npm-registry.ts';

const run = promisify(execFile);
const { version } = manifest;
/** Milliseconds that a release may take. */
const patience = 1_200_000;
const cosignPassword = 'the password of cosign';
const names = ['kmm-sign', 'kmm-sign-loader', 'kmm-sign-catalog', 'example-driver'];

describeWith(
  ['buildah', 'skopeo', 'helm', 'kubectl', 'cosign', 'verdaccio', 'distribution', 'strace', 'apt-get'],
  'publishing a release',
  ({ skopeo, helm, cosign, strace }) => {
    let folder: string;
    let checkout: string;
    let packages: string;
    let registry: TestRegistry;
    let npm: NpmRegistry;
    let key: { key: string; certificate: string };
    let to: string;
    const at = (...path: string[]): string => join(folder, ...path);
    const cosignKey = (): string => at('cosign.key');

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'kmm-sign-publish-test-'));
      checkout = at('checkout');
      await makeCleanCheckout(checkout);
      await nameRelease(checkout, version);
      packages = await lockPackages(checkout);
      registry = await startTestRegistry('distribution', { authentication: 'basic' });
      npm = await startNpmRegistry(folder);
      key = await createTestKey(folder);
      to = `${registry.host}/kmm-sign`;
      const env = { ...process.env, COSIGN_PASSWORD: cosignPassword };
      await run(cosign, ['generate-key-pair'], { cwd: folder, env });
      await writeLogin('login', testUser.password);
      await writeLogin('wrong', 'a wrong password');
    }, patience);
    afterAll(async () => {
      await registry?.close();
      await npm?.[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    });

    /** Writes what `docker login` would. */
    async function writeLogin(name: string, password: string): Promise<void> {
      const auth = Buffer.from(`${testUser.username}:${password}`).toString('base64');
      await mkdir(at(name));
      await writeFile(at(name, 'config.json'), JSON.stringify({ auths: { [registry.host]: { auth } } }));
    }

    /** Runs the release script with the login of a folder. */
    function publish(login: string, output: string) {
      const args = ['--version', version, '--to', to, '--output', at(output), '--plain-http'];
      const signing = ['--key', key.key, '--cert', key.certificate, '--packages', packages];
      return runRelease(checkout, [...args, ...signing], [], { DOCKER_CONFIG: at(login) });
    }

    /** Runs what the workflow does, and writes the arguments of all programs down. */
    async function publishAsWorkflow(trace: string) {
      const options = ['--plain-http', '--packages', packages, '--cosign', cosignKey()];
      const toNpm = ['--npm', '--npm-registry', npm.url, '--no-provenance'];
      const env = {
        RELEASE_TO: to,
        RELEASE_OPTIONS: [...options, ...toNpm].join(' '),
        REGISTRY_USER: testUser.username,
        REGISTRY_PASSWORD: testUser.password,
        EXAMPLE_KEY: await readFile(key.key, 'utf8'),
        EXAMPLE_CERT: await readFile(key.certificate, 'utf8'),
        COSIGN_PASSWORD: cosignPassword,
        NPM_CONFIG_USERCONFIG: npm.userConfiguration,
      };
      const traced = ['-f', '--seccomp-bpf', '-e', 'trace=execve', '-s', '100000', '-o', at(trace)];
      return runIn(checkout, [strace, ...traced, '.ci/publish', `v${version}`], env);
    }

    /** Returns the digest of each tag in the registry. */
    async function tags(): Promise<Record<string, string>> {
      const authorization = `Basic ${Buffer.from(`${testUser.username}:${testUser.password}`).toString('base64')}`;
      const get = async (path: string, method = 'GET') =>
        fetch(`${registry.url}/v2/${path}`, {
          method,
          headers: {
            authorization,
            accept: 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json',
          },
        });
      const { repositories } = (await (await get('_catalog')).json()) as { repositories: string[] };
      const all: Record<string, string> = {};
      for (const repository of repositories) {
        const list = (await (await get(`${repository}/tags/list`)).json()) as { tags: string[] };
        for (const tag of list.tags) {
          const { headers } = await get(`${repository}/manifests/${tag}`, 'HEAD');
          all[`${repository}:${tag}`] = headers.get('docker-content-digest') ?? '';
        }
      }
      return all;
    }
    const released = async () =>
      Object.fromEntries(Object.entries(await tags()).filter(([name]) => !name.includes(':sha256-')));

    /** Asks cosign whether the key pair of the release has signed an image. */
    async function verify(image: string, publicKey = at('cosign.pub')): Promise<string> {
      const options = ['--key', publicKey, '--insecure-ignore-tlog', '--allow-http-registry'];
      const env = { ...process.env, DOCKER_CONFIG: at('login'), HOME: folder };
      const { stdout } = await run(cosign, ['verify', ...options, image], { env });
      return stdout;
    }

    it(
      'publishes nothing if the login is refused',
      async () => {
        const { exitCode, output } = await publish('wrong', 'refused');
        expect({ exitCode, output }).toEqual({
          exitCode: 1,
          output: expect.stringMatching(/skopeo copy.*(?:unauthorized|authentication required)/s) as string,
        });
        expect(await tags()).toEqual({});
      },
      patience,
    );

    it(
      'pushes, signs and publishes everything with the login that is there, and shows no secret',
      async () => {
        const { exitCode, output } = await publishAsWorkflow('first.trace');
        expect({ exitCode, output }).toEqual({
          exitCode: 0,
          output: expect.stringContaining(`published ${version}`) as string,
        });
        const found = Object.keys(await released());
        expect(found).toEqual(
          expect.arrayContaining([...names, 'charts/kmm-sign'].map((name) => `kmm-sign/${name}:${version}`)),
        );
        const trace = await readFile(at('first.trace'), 'utf8');
        expect(trace).toMatch(/execve\("[^"]*cosign", .*"sign"/);
        const auth = Buffer.from(`${testUser.username}:${testUser.password}`).toString('base64');
        const pem = (await readFile(key.key, 'utf8')).split('\n')[3] ?? '';
        expect(pem.length).toBeGreaterThan(40);
        for (const secret of [testUser.password, auth, cosignPassword, npm.token, pem]) {
          expect(output).not.toContain(secret);
          expect(trace).not.toContain(secret);
        }
      },
      patience,
    );

    it('is pulled by Helm, and what cosign verifies is what the chart names', async () => {
      const env = { ...process.env, HELM_REGISTRY_CONFIG: at('login/config.json') };
      const chart = [`oci://${to}/charts/kmm-sign`, `--version=${version}`, '--plain-http'];
      const { stdout } = await run(helm, ['show', 'values', ...chart], { env });
      const digest = /^ +digest: ['"]?(sha256:[0-9a-f]{64})/m.exec(stdout)?.[1] ?? '';
      const all = await released();
      expect(all[`kmm-sign/kmm-sign:${version}`]).toBe(digest);
      for (const [name, own] of Object.entries(all))
        expect(await verify(`${registry.host}/${name.split(':')[0]}@${own}`)).toContain(own);
    }, 240_000);

    it('has signatures that cosign refuses for another key and for a changed image or chart', async () => {
      const env = { ...process.env, COSIGN_PASSWORD: cosignPassword };
      await mkdir(at('other'));
      await run(cosign, ['generate-key-pair'], { cwd: at('other'), env });
      const all = await released();
      const options = [
        '--quiet',
        '--all',
        `--authfile=${at('login/config.json')}`,
        '--src-tls-verify=false',
        '--dest-tls-verify=false',
      ];
      for (const name of ['kmm-sign/example-driver', 'kmm-sign/charts/kmm-sign']) {
        const repository = `${registry.host}/${name}`;
        const digest = all[`${name}:${version}`] ?? '';
        await expect(verify(`${repository}@${digest}`, at('other/cosign.pub'))).rejects.toThrow(/signature/);
        // Another manifest, with what was signed for the first one.
        const raw = ['inspect', '--raw', '--tls-verify=false', `--authfile=${at('login/config.json')}`];
        const { stdout: text } = await run(skopeo, [...raw, `docker://${repository}@${digest}`]);
        const changed = `${text.trimEnd()}\n\n`;
        const other = `sha256:${createHash('sha256').update(changed).digest('hex')}`;
        const { mediaType } = JSON.parse(text) as { mediaType?: string };
        const auth = Buffer.from(`${testUser.username}:${testUser.password}`).toString('base64');
        const put = await fetch(`${registry.url}/v2/${name}/manifests/changed`, {
          method: 'PUT',
          headers: {
            authorization: `Basic ${auth}`,
            'content-type': mediaType ?? 'application/vnd.oci.image.manifest.v1+json',
          },
          body: changed,
        });
        expect([put.status, put.headers.get('docker-content-digest')]).toEqual([201, other]);
        const signature = (of: string): string => `docker://${repository}:${of.replace(':', '-')}`;
        await run(skopeo, ['copy', ...options, signature(digest), signature(other)]);
        await expect(verify(`${repository}@${other}`)).rejects.toThrow(
          /no (?:matching )?signatures|verif|digest/i,
        );
        expect(await verify(`${repository}@${digest}`)).toContain(digest);
      }
    }, 120_000);

    it('is the npm package that was made, as npm itself finds', async () => {
      await mkdir(at('empty'));
      const quiet = ['--no-audit', '--no-fund', `--registry=${npm.url}`];
      await run('npm', ['install', ...quiet, `kmm-sign@${version}`], { cwd: at('empty') });
      const lock = JSON.parse(await readFile(at('empty/package-lock.json'), 'utf8')) as {
        packages: Record<string, { integrity: string }>;
      };
      const { stdout } = await run('npm', [
        'view',
        `kmm-sign@${version}`,
        'dist.integrity',
        `--registry=${npm.url}`,
      ]);
      expect(lock.packages['node_modules/kmm-sign']?.integrity).toBe(stdout.trim());
      const installed = await run(at('empty/node_modules/.bin/kmm-sign'), ['version']);
      expect(installed.stdout).toContain(version);
    }, 240_000);

    it(
      'says of each part that it is the same when the version is published again, and changes nothing',
      async () => {
        const before = await released();
        const { exitCode, output } = await publishAsWorkflow('second.trace');
        expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.any(String) as string });
        const parts = [...names, 'charts/kmm-sign'].map((name) => `${to}/${name}:${version}`);
        for (const part of [...parts, `kmm-sign@${version} at npm`])
          expect(output).toContain(`${part} is there already, the same`);
        expect(await released()).toEqual(before);
        expect(await readFile(at('second.trace'), 'utf8')).not.toMatch(/"(?:skopeo", "copy|npm", "publish)"/);
      },
      patience,
    );

    it(
      'refuses the version for other contents, and changes nothing',
      async () => {
        const before = await tags();
        await writeFile(join(checkout, 'LICENSE'), 'Another one\n', { flag: 'a' });
        await commitAll(checkout);
        const { exitCode, output } = await publish('login', 'changed');
        expect(exitCode).toBe(1);
        expect(output).toMatch(
          /is there already, with sha256:.* in place of sha256:.*; release another version/,
        );
        expect(await tags()).toEqual(before);
        expect(await readdir(at('changed'))).toContain('images.json');
      },
      patience,
    );
  },
);
