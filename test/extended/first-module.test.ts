import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { pods } from '../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../src/controller/runtime/api/list.ts';
import {
  lockPackages,
  makeCleanCheckout,
  nameRelease,
  readJson,
  runRelease,
} from '../release/clean-checkout.ts';
import { createAuthority } from '../support/certificates.ts';
import { clusterPrograms } from '../support/cluster/cluster.ts';
import { pullImage } from '../support/cluster/images.ts';
import { startKubelet, type TestNode } from '../support/cluster/kubelet.ts';
import { imagePrograms, makeStrangerRoot } from '../support/node/debian-images.ts';
import { realClusterPrograms, startRealCluster, type RealCluster } from '../support/node/real-cluster.ts';
import { describeWith } from '../support/programs.ts';
import { createTestKey } from '../support/signing.ts';

const run = promisify(execFile);
const { version } = manifest;
/** Milliseconds that a release and a cluster may take. */
const patience = 1_200_000;
const text = await readFile(fileURLToPath(new URL('../../docs/first-module.md', import.meta.url)), 'utf8');
/** The node whose kernel the example is for. */
const nodeName = 'worker-0';

const yamlBlock = /^```yaml\n(.*?)^```$/ms;
const yaml = yamlBlock.exec(text)?.[1] ?? '';
/** The commands of a section. */
function commandsOf(heading: string): string[] {
  const section = text.split(/^## /m).find((one) => one.startsWith(`${heading}\n`)) ?? '';
  const block = /^```\n(.*?)^```$/ms.exec(section.replace(yamlBlock, ''))?.[1] ?? '';
  return block.trim().split('\n');
}
const kernel = /literal: (\S+)/.exec(yaml)?.[1] ?? '';

/**
 * Somebody who has a machine with Node and npm, the files of a release, kubectl, helm, and a cluster: what docs/first-module.md
 * takes. The cluster's node is real, and so are the operator's pods; the node that loads the module is the tests' own, since
 * the kernel of this machine is another one.
 */
describeWith(
  [...realClusterPrograms, ...clusterPrograms, ...imagePrograms, 'helm', 'skopeo'],
  'docs/first-module.md',
  ({ helm, kubectl }) => {
    let folder: string;
    let root: string;
    let cluster: RealCluster;
    let node: TestNode;
    const resources = new AsyncDisposableStack();
    const output = (): string => join(folder, 'release');

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'kmm-sign-stranger-'));
      root = join(folder, 'machine');
      cluster = resources.use(await startRealCluster(['native'], { hasOpenRegistry: true }));
      await cluster.startNode('native');
      // The tests' kubelet has no tokens for pods.
      const account = ['serviceaccount', 'default', '--patch={"automountServiceAccountToken":false}'];
      await cluster.kubectl(['patch', ...account]);
      await publish();
      await makeStrangerRoot(root);
      await copyFile(helm, join(root, 'usr/local/bin/helm'));
      await copyFile(kubectl, join(root, 'usr/local/bin/kubectl'));
      await mkdir(join(root, 'work'));
      const archive = `kmm-sign-${version}.tgz`;
      await copyFile(join(output(), 'npm', archive), join(root, 'work', archive));
      await run('mount', ['-t', 'proc', 'proc', join(root, 'proc')]);
      resources.defer(async () => {
        await run('umount', ['--lazy', join(root, 'proc')]);
      });
      await run('mknod', ['-m', '666', join(root, 'dev/null'), 'c', '1', '3']).catch(() => undefined);
      await run('mknod', ['-m', '666', join(root, 'dev/urandom'), 'c', '1', '9']).catch(() => undefined);
      await writeFile(join(root, 'kubeconfig'), await kubeconfigText(), { mode: 0o600 });
    }, patience);
    afterAll(async () => {
      await resources.disposeAsync();
      await rm(folder, { recursive: true, force: true });
    }, 120_000);

    /** Publishes a release to the cluster's registry. */
    async function publish(): Promise<void> {
      const checkout = join(folder, 'checkout');
      await makeCleanCheckout(checkout);
      await nameRelease(checkout, version);
      const packages = await lockPackages(checkout);
      const key = await createTestKey(folder);
      const to = `${cluster.registry}/kmm-sign`;
      const args = ['--version', version, '--to', to, '--output', output(), '--plain-http'];
      const signing = ['--key', key.key, '--cert', key.certificate, '--packages', packages];
      const made = await runRelease(checkout, [...args, ...signing]);
      if (made.exitCode !== 0) throw new Error(made.output);
    }

    /** A kubeconfig with the authority in it. */
    async function kubeconfigText(): Promise<string> {
      const { stdout } = await run(kubectl, [
        'config',
        'view',
        '--raw',
        '--flatten',
        `--kubeconfig=${cluster.kubeconfig}`,
      ]);
      return stdout;
    }

    /** What the document leaves open, and the registry's lack of TLS. */
    function fill(part: string): string {
      return part
        .replaceAll('ghcr.io', cluster.registry)
        .replaceAll('registry.example', cluster.registry)
        .replaceAll('VERSION', version)
        .replaceAll('NODE', nodeName)
        .replace(/^helm install .*$/m, '$& --plain-http')
        .replace('      modprobe:', '      registryTLS: { insecure: true }\n$&');
    }

    /** Runs the commands of a section, one after the other, on the stranger's machine, and returns what they print. */
    async function follow(heading: string): Promise<string> {
      const env = {
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: '/root',
        KUBECONFIG: '/kubeconfig',
        KMM_SIGN_PLAIN_HTTP: 'true',
        NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt',
      };
      let printed = '';
      for (const command of commandsOf(heading)) {
        const words = [root, 'bash', '-c', `cd /work && ${fill(command)}`];
        const { stdout, stderr } = await run('chroot', words, { env, maxBuffer: 2 ** 26 });
        printed += stdout + stderr;
      }
      return printed;
    }

    it('starts on a machine that has Node and npm, and nothing of what this project needs', async () => {
      const { stdout } = await run('chroot', [
        root,
        'bash',
        '-c',
        'node --version; command -v git gcc make skopeo buildah docker kmm-sign || true',
      ]);
      expect(stdout).toMatch(/^v\d+\.\d+\.\d+\n$/);
      expect(fill(text)).not.toMatch(/ghcr\.io|registry\.example/);
    });

    it('has commands that install the program from the package', async () => {
      const printed = await follow('The program');
      expect(printed).toContain(`${version}\ncommit `);
      expect(printed).toContain('hello.ko: trusted');
    }, 240_000);

    it('has commands that sign the first image, and verify it', async () => {
      const printed = await follow('The first image');
      expect(printed).toContain('Signed 1 of 1 module');
      expect(printed).toContain('1 of 1 module trusted');
    }, 120_000);

    it('has commands that install the operator, whose pods run the image of the release', async () => {
      await follow('The operator');
      const images = await readJson<Record<string, string>>(output(), 'images.json');
      const running = await listAll(cluster.client, pods, { namespace: 'kmm-operator-system' });
      const seen = running.map(({ spec, status }) => [
        spec?.nodeName,
        spec?.containers[0]?.image,
        status?.phase,
      ]);
      const expected = ['native', images['kmm-sign'], 'Running'];
      expect(seen).toEqual([expected, expected]);
    }, 700_000);

    it('has a Module that becomes ready, whose module comes from the signed image', async () => {
      const authority = await createAuthority(join(folder, 'kubelet'));
      const { 'kmm-sign-loader': loader = '' } = await readJson<Record<string, string>>(
        output(),
        'images.json',
      );
      const driver = await cluster.repository('ours/driver').resolve({ tag: '1.0' });
      const pulled = [loader, `${cluster.registry}/ours/driver@${driver.digest}`];
      const images = Object.fromEntries(
        pulled.map((image) => [
          image,
          (place: string) => pullImage(image, { folder: place, credentials: undefined }),
        ]),
      );
      const kubelet = resources.use(
        await startKubelet({ client: cluster.client, tls: await authority.issueServer('kubelet'), images }),
      );
      node = await kubelet.addNode({ name: nodeName, kernel });
      await writeFile(join(root, 'work/module.yaml'), fill(yaml));
      expect(await follow('The first Module')).toMatch(/driver +True +Loaded +1 +1/);
      expect([...node.loaded().values()]).toMatchObject([{ signer: 'Our modules' }]);
    }, 700_000);
  },
);
