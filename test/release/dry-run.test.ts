import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { program } from '../cli/run-program.ts';
import { parseManifests, type Manifest } from '../deploy/manifests.ts';
import { apiServerPrograms, startApiServer } from '../support/api-server.ts';
import { freePort, startProcess, type RunningProcess } from '../support/processes.ts';
import { describeWith } from '../support/programs.ts';
import { createTestKey } from '../support/signing.ts';
import { waitFor } from '../support/wait-for.ts';
import { makeCleanCheckout, makeDryRun, readJson, runRelease } from './clean-checkout.ts';

const run = promisify(execFile);
const { version } = manifest;
const architectures = ['amd64', 'arm64'] as const;
/** e_machine of ELF files. */
const machines = { amd64: 62, arm64: 183 };
/** Milliseconds that a release may take beside other tests. */
const patience = 900_000;
const started = { timeout: 30_000, interval: 100 };
const programs = [
  ...apiServerPrograms,
  'buildah',
  'skopeo',
  'umoci',
  'helm',
  'kubectl',
  'dpkg-deb',
  'apt-get',
  'tar',
] as const;

function verify(image = '', certificate = ''): Promise<{ stdout: string }> {
  return run(process.execPath, [program, 'verify', image, '--cert', certificate, '--plain-http']);
}

interface Index {
  readonly manifests: readonly { digest: string; platform: { architecture: string } }[];
}

describeWith(programs, 'a dry run of a release', ({ skopeo, umoci, helm, kubectl }) => {
  let folder: string;
  let checkout: string;
  let output: string;
  let registry: string;
  let server: RunningProcess | undefined;
  const at = (...path: string[]): string => join(output, ...path);
  const images = (): Promise<Record<string, string>> => readJson(output, 'images.json');
  const git = async (...args: string[]) => (await run('git', args, { cwd: checkout })).stdout.trim();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-release-test-'));
    checkout = join(folder, 'checkout');
    output = join(folder, 'out');
    await makeCleanCheckout(checkout);
    const key = await createTestKey(folder);
    const port = await freePort();
    registry = `127.0.0.1:${port}/kmm-sign`;
    const signing = ['--key', key.key, '--cert', key.certificate];
    await makeDryRun(checkout, ['--version', version, '--to', registry, '--output', output, ...signing]);
    const serve = ['registry', '--root', at('registry'), '--listen', `127.0.0.1:${port}`];
    server = startProcess(process.execPath, [program, ...serve], { log: join(folder, 'registry.log') });
    await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/v2/`)).ok, started);
  }, patience);

  afterAll(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function inspect<T>(image: string, ...options: string[]): Promise<T> {
    const { stdout } = await run(skopeo, ['inspect', ...options, '--tls-verify=false', `docker://${image}`]);
    return JSON.parse(stdout) as T;
  }

  /** Unpacks an image for an architecture, and returns its root. */
  async function unpack(image: string, architecture: string): Promise<string> {
    const [layout, bundle] = [join(folder, `layout-${architecture}`), join(folder, `root-${architecture}`)];
    const copy = ['copy', '--quiet', '--src-tls-verify=false', `--override-arch=${architecture}`];
    await run(skopeo, [...copy, `docker://${image}`, `oci:${layout}:image`]);
    await run(umoci, ['unpack', '--image', `${layout}:image`, bundle]);
    return join(bundle, 'rootfs');
  }

  it('leaves the checkout as it was, and refuses one that has changed or that has another version', async () => {
    expect(await git('status', '--porcelain')).toBe('');
    const args = ['--to', registry, '--dry-run', '--output', join(folder, 'refused')];
    const other = await runRelease(checkout, [...args, '--version', '9.8.7']);
    expect(other.output).toContain(`package.json has the version ${version}, not 9.8.7`);
    await writeFile(join(checkout, 'new.js'), '');
    const changed = await runRelease(checkout, [...args, '--version', version]);
    expect(changed.output).toMatch(/the checkout is not clean.*new\.js/s);
    await rm(join(checkout, 'new.js'));
    expect([other.exitCode, changed.exitCode]).toEqual([2, 2]);
  });

  it('has checksums that hold, and names everything with the same in its provenance', async () => {
    await run('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: output });
    const { subject, predicate } = await readJson<{
      subject: { name: string; digest: { sha256: string } }[];
      predicate: { buildDefinition: { resolvedDependencies: { digest: { gitCommit?: string } }[] } };
    }>(output, 'provenance.json');
    const sums = (await readFile(at('SHA256SUMS'), 'utf8')).trim().split('\n');
    const files = sums
      .map((line) => line.split('  ').toReversed())
      .filter(([name]) => name !== 'provenance.json');
    const references = Object.values(await images()).map((image) => image.split('@sha256:'));
    expect(new Set(subject.map(({ name, digest }) => `${name} ${digest.sha256}`))).toEqual(
      new Set([...files, ...references].map((pair) => pair.join(' '))),
    );
    const commits = predicate.buildDefinition.resolvedDependencies.flatMap(
      ({ digest }) => digest.gitCommit ?? [],
    );
    expect(commits).toEqual([await git('rev-parse', 'HEAD')]);
  });

  it.each(architectures)(
    'has an image whose programs are all for %s, and whose bill lists the packages in it',
    async (architecture) => {
      const image = (await images())['kmm-sign'] ?? '';
      const { manifests } = await inspect<Index>(image, '--raw');
      expect(manifests.map(({ platform }) => platform.architecture).toSorted()).toEqual([...architectures]);
      const root = await unpack(image, architecture);
      for (const file of [
        'usr/local/bin/node',
        'usr/bin/kmod',
        'usr/bin/busybox',
        'usr/bin/zstd',
        'usr/bin/dash',
      ]) {
        const header = await readFile(join(root, file));
        expect([header.toString('latin1', 1, 4), header.readUInt16LE(18)]).toEqual([
          'ELF',
          machines[architecture],
        ]);
      }
      // Compiled code is for one Node of one architecture: that of the machine that the release is made on.
      const compiled = await readFile(join(root, 'app/dist/cli.cjs.cache'), 'latin1').catch(() => '');
      const isOwn = machines[architecture] === (await readFile(process.execPath)).readUInt16LE(18);
      const forNode = `${process.version} linux ${process.arch}`;
      expect(compiled.split('\n')[1]).toBe(isOwn ? forNode : undefined);
      const { packages } = await readJson<{ packages: { name: string; SPDXID: string }[] }>(
        output,
        'sbom',
        `kmm-sign-image-${architecture}.spdx.json`,
      );
      const listed = packages.filter(({ SPDXID }) => SPDXID.startsWith('SPDXRef-Debian-'));
      expect(listed.map(({ name }) => name).toSorted()).toEqual(
        (await readdir(join(root, 'var/lib/dpkg/status.d'))).toSorted(),
      );
      expect(packages.map(({ name }) => name)).toContain('zod');
    },
    120_000,
  );

  it('has an image that runs, with what module loaders need, and knows its commit', async () => {
    const root = join(folder, 'root-amd64/rootfs');
    const inside = async (...args: string[]) => (await run('chroot', [root, ...args])).stdout;
    const facts: unknown = JSON.parse(await inside('kmm-operator', 'version', '--json'));
    expect(facts).toMatchObject({
      version,
      commit: await git('rev-parse', 'HEAD'),
      date: '2026-11-26T12:00:00Z',
    });
    const script =
      'for one in modprobe cp xz zstd tar busybox gather; do command -v $one || exit; done; modprobe -V';
    expect(await inside('sh', '-ec', script)).toMatch(/modprobe\n.*gather\nkmod version/s);
    await mkdir(join(root, 'dev'), { recursive: true });
    expect(await inside('kmm-sign', 'demo')).toContain('hello.ko: trusted');
  }, 120_000);

  it('has manifests and a chart whose images are pinned, and that install the same', async () => {
    const image = (await images())['kmm-sign'] ?? '';
    const manifests = await readdir(at('manifests'));
    expect(manifests).toEqual(
      expect.arrayContaining(['crds.yaml', 'hub.yaml', 'kubernetes.yaml', 'openshift.yaml']),
    );
    const texts = await Promise.all(manifests.map((name) => readFile(at('manifests', name), 'utf8')));
    expect(texts.join('').match(/image: .*kmm-sign\/kmm-sign.*/g)).not.toBeNull();
    expect(texts.join('')).not.toMatch(/kmm-sign\/kmm-sign(?:-loader)?:/);
    expect(texts.join('')).toContain(`value: ${(await images())['kmm-sign-loader']}\n`);
    const chart = [`oci://${registry}/charts/kmm-sign`, `--version=${version}`, '--plain-http'];
    const { stdout } = await run(helm, ['template', 'kmm-sign', ...chart], { maxBuffer: 2 ** 26 });
    const deployed = parseManifests(stdout).filter(({ kind }) => kind === 'Deployment');
    expect(deployed).toHaveLength(2);
    for (const one of deployed) expect(JSON.stringify(one)).toContain(`"image":"${image}"`);
    expect(stdout).not.toMatch(/kmm-sign\/kmm-sign(?:-loader)?:/);
    expect(stdout).toContain((await images())['kmm-sign-loader']);
  });

  it('is installed from its registry by Helm, in a cluster whose Deployments then run the released image', async () => {
    const all = await images();
    await using api = await startApiServer();
    const env = { ...process.env, KUBECONFIG: api.kubeconfig, HOME: folder };
    const chart = [`oci://${registry}/charts/kmm-sign`, `--version=${version}`, '--plain-http'];
    const where = ['--namespace=kmm-operator-system', '--create-namespace'];
    await run(helm, ['install', 'kmm-sign', ...chart, ...where], { env });
    const get = ['get', 'deployments', '--all-namespaces', '--output=json'];
    const { items } = JSON.parse((await run(kubectl, get, { env })).stdout) as { items: Manifest[] };
    const pods = items.map(({ metadata, spec }) => [metadata.name, JSON.stringify(spec)] as const);
    expect(pods.map(([name]) => name)).toEqual(['kmm-operator-controller', 'kmm-operator-webhook']);
    for (const [, spec] of pods) expect(spec).toContain(`"image":"${all['kmm-sign']}"`);
    expect(pods[0]?.[1]).toContain(`"value":"${all['kmm-sign-loader']}"`);
    for (const image of [all['kmm-sign'], all['kmm-sign-loader']])
      expect((await inspect<Index>(image ?? '', '--raw')).manifests).toHaveLength(architectures.length);
  }, 120_000);

  it('has bundles and a catalog, which names them by their digests', async () => {
    const all = await images();
    for (const name of ['kernel-module-management', 'kernel-module-management-hub', 'nfd']) {
      const text = await readFile(at('olm/catalog', name, 'catalog.yaml'), 'utf8');
      expect(text).toContain(`image: ${all[`${name}-bundle`]}\n`);
      const { Labels } = await inspect<{ Labels: object }>(all[`${name}-bundle`] ?? '');
      expect(Labels).toMatchObject({ 'operators.operatorframework.io.bundle.package.v1': name });
    }
    const { Labels } = await inspect<{ Labels: object }>(all['kmm-sign-catalog'] ?? '');
    expect(Labels).toMatchObject({ 'operators.operatorframework.io.index.configs.v1': '/configs' });
  });

  it('has an example whose signature its own program and certificate verify', async () => {
    const all = await images();
    expect((await verify(all['example-driver'], at('example-driver.pem'))).stdout).toContain(
      '1 of 1 module trusted',
    );
    await expect(verify(all['example-driver-unsigned'], at('example-driver.pem'))).rejects.toMatchObject({
      code: 10,
    });
  });

  it('has a commit for the GitHub Action, with the built step and nothing else that is new', async () => {
    const notes = await readFile(at('notes.md'), 'utf8');
    const commit = /`kmm-sign\/kmm-sign@([0-9a-f]{40})`/.exec(notes)?.[1] ?? '';
    expect(await git('diff', '--name-only', 'HEAD', commit)).toBe(
      'dist/action.mjs\ndist/action.mjs.LEGAL.txt',
    );
    const { stdout } = await run('git', ['show', `${commit}:dist/action.mjs`], {
      cwd: checkout,
      maxBuffer: 2 ** 26,
    });
    expect(stdout).toBe(await readFile(at('action/dist/action.mjs'), 'utf8'));
    const step = run(process.execPath, [at('action/dist/action.mjs')], { env: {} });
    await expect(step).rejects.toMatchObject({
      code: 2,
      stdout: expect.stringContaining('::error') as string,
    });
  });

  it.each([20, 22, 24, 26])(
    'has an npm package that installs and demonstrates itself on Node %i',
    async (node) => {
      const [place, tool] = [join(folder, `node-${node}`), join(folder, `tool-${node}`)];
      const quiet = ['--silent', '--no-audit', '--no-fund', '--prefer-offline', '--no-save'];
      await mkdir(tool);
      await run('npm', ['install', ...quiet, '--prefix', tool, `node@${node}`], { cwd: tool });
      await mkdir(place);
      const env = { ...process.env, PATH: `${join(tool, 'node_modules/node/bin')}:${process.env['PATH']}` };
      const installed = { cwd: place, env };
      expect((await run('node', ['--version'], installed)).stdout).toMatch(`v${node}.`);
      await run('npm', ['install', ...quiet, at(`npm/kmm-sign-${version}.tgz`)], installed);
      const { stdout } = await run('node_modules/.bin/kmm-sign', ['demo'], installed);
      expect(stdout).toContain('hello.ko: trusted');
    },
    240_000,
  );
});
