import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { kernelRelease } from '../../support/debian-kernel.ts';
import { requireProgram } from '../../support/programs.ts';
import { buildToolsArchive } from '../build-tools.ts';
import { startOperatorWorld, type OperatorWorld } from '../operator-world.ts';
import { writeCredentials } from '../private-registry.ts';
import { followModule } from './follow-module.ts';

const moduleName = 'example-module';
const nodeName = 'worker-0';
const manifest = 'test/end-to-end/manifests/build-and-sign.yaml';
const moduleFile = `/opt/lib/modules/${kernelRelease}/hello.ko`;
const kmmSignProgram = fileURLToPath(new URL('../../../bin/kmm-sign.js', import.meta.url));

export interface Story {
  /** Takes a line of what is told. */
  readonly tell: (line: string) => void;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

type Environment = Readonly<Record<string, string>>;

/** A cluster with one node, a registry and the operator. */
export interface LocalCluster extends AsyncDisposable {
  readonly world: OperatorWorld;
  /** What kubectl and kmm-sign need to reach it. */
  readonly env: Environment;
  /** For whatever is written. */
  readonly folder: string;
}

/** Starts a cluster. */
export async function startLocalCluster({ tell, signal }: Story): Promise<LocalCluster> {
  tell('Preparing the image that modules are built in (the first time, apt downloads 77 MB)');
  await buildToolsArchive();
  signal.throwIfAborted();
  await using stack = new AsyncDisposableStack();
  tell('Starting etcd, kube-apiserver, kube-controller-manager, kube-scheduler and docker-registry');
  const world = stack.use(await startOperatorWorld());
  tell(`Starting a kubelet with the node ${nodeName}, kernel ${kernelRelease}`);
  await world.kubelet.addNode({ name: nodeName, kernel: kernelRelease });
  tell('Starting kmm-operator');
  await world.startOperator();
  const { path: folder } = stack.use(await createTemporaryDirectory());
  const env = {
    KUBECONFIG: world.kubeconfig,
    KMM_SIGN_AUTHFILE: await writeCredentials(folder, world.registry.host),
    KMM_SIGN_PLAIN_HTTP: 'true',
  };
  const owned = stack.move();
  return { world, env, folder, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Has the operator build, sign and load a module, and shows what came of it. @throws Error when that fails */
export async function signModule(cluster: LocalCluster, { tell, signal }: Story): Promise<void> {
  const { world } = cluster;
  tell(`\n$ sed s/REGISTRY/${world.registry.host}/ ${manifest} | kubectl apply -f -`);
  const started = performance.now();
  const following = followModule({
    client: world.client,
    name: moduleName,
    signal: AbortSignal.any([signal, AbortSignal.timeout(600_000)]),
    onPhase: ({ phase, message = '' }) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      tell(`${seconds.padStart(7)} s  ${phase.padEnd(9)} ${message}`.trimEnd());
    },
  });
  const [{ status }] = await Promise.all([following, world.applyManifest('build-and-sign')]);
  await showResult(cluster, { tell, digest: status?.kernels?.[0]?.digest ?? '' });
}

interface Result {
  readonly tell: Story['tell'];
  readonly digest: string;
}

async function showResult({ world, env, folder }: LocalCluster, { tell, digest }: Result): Promise<void> {
  const show = async (command: readonly string[], output: Promise<string>): Promise<void> => {
    tell(`\n$ ${command.join(' ')}\n${(await output).trimEnd()}`);
  };
  const kubectl = (...args: string[]): Promise<void> => show(['kubectl', ...args], world.kubectl(args));
  const kmmSign = (...args: string[]): Promise<void> =>
    show(['npx', 'kmm-sign', ...args], run(process.execPath, [kmmSignProgram, ...args], env));
  const modinfo = (...args: string[]): Promise<void> =>
    show(['modinfo', ...args], run(requireProgram('modinfo'), args));
  const image = `${world.registry.host}/example/minimal-driver@${digest}`;

  await kubectl('get', 'module', moduleName);
  await kmmSign('verify', image, '--cert', world.key.certificate);
  await kmmSign('extract', image, '--output', folder);
  await modinfo('-F', 'signer', join(folder, moduleFile));
  await kubectl('get', 'nodes', '--selector', `kmm.node.kubernetes.io/default.${moduleName}.ready`);
}

async function run(program: string, args: readonly string[], env: Environment = {}): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { env: { ...process.env, ...env } });
  return stdout;
}
