import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as z from 'zod';
import { builders } from '../../src/builder/build-job.ts';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { createTemporaryDirectory } from '../../src/shared/temporary.ts';
import { nameOf, renderOverlay, type Manifest } from '../deploy/manifests.ts';
import { clusterPrograms, startCluster } from '../support/cluster/cluster.ts';
import { buildahImage, kanikoImage, kmmSignImage, type LocalImage } from '../support/cluster/images.ts';
import type { Kubelet } from '../support/cluster/kubelet.ts';
import { requireProgram } from '../support/programs.ts';
import { runOperator, writeKubeconfig, type OperatorProcess } from './operator-process.ts';

/** The real programs that a cluster with an operator takes. */
export const installedClusterPrograms = [...clusterPrograms, 'kubectl', 'buildah'] as const;

/** What operators are told to sign with. */
export const signImage = 'kmm-sign.example/kmm-sign:v1';
/** What an installation has besides programs, which run elsewhere here. */
const installedKinds = [
  'Namespace',
  'ServiceAccount',
  'ClusterRole',
  'ClusterRoleBinding',
  'Role',
  'RoleBinding',
];
const controllerLabel = 'app.kubernetes.io/component';

/** A service account. */
export interface Account {
  readonly namespace: string;
  readonly name: string;
}

/** Runs kubectl as an administrator, and gives what it prints. */
export type Kubectl = (args: readonly string[], input?: string) => Promise<string>;

/** A cluster in which an operator is installed as an overlay of `deploy` says. Its programs are what a test starts. */
export interface InstalledCluster extends AsyncDisposable {
  readonly client: ApiClient;
  /** Path of a file that lets its user do everything. */
  readonly kubeconfig: string;
  readonly kubelet: Kubelet;
  /** The operator's, which has its namespace. */
  readonly account: Account;
  readonly kubectl: Kubectl;
  /** Path of a file that lets its user do what a service account may. */
  kubeconfigOf(account: Account): Promise<string>;
  /** Starts the operator as its Deployment does, with the rights of its account. It ends with the cluster. */
  startOperator(configuration: object): Promise<OperatorProcess>;
}

export interface InstalledClusterOptions {
  /** Folder of `deploy/overlays`. */
  readonly overlay: string;
  /** Makes the cluster's own resources known. */
  readonly prepare: (client: ApiClient) => Promise<void>;
  /** More images that are in no registry. */
  readonly images?: Readonly<Record<string, LocalImage>> | undefined;
}

/** Starts a cluster without nodes, and installs all but the programs. */
export async function startInstalledCluster({
  overlay,
  prepare,
  images = {},
}: InstalledClusterOptions): Promise<InstalledCluster> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await createTemporaryDirectory());
  const objects = await renderOverlay(overlay);
  const { account, command, env } = readController(objects);
  const cluster = stack.use(await startCluster({ prepare }));
  const kubelet = await cluster.kubelet({
    images: {
      [builders.buildah.defaultImage]: buildahImage(),
      [builders.kaniko.defaultImage]: kanikoImage(),
      [signImage]: kmmSignImage(),
      // The image of module loaders has the same programs.
      [env['RELATED_IMAGE_LOADER'] ?? signImage]: kmmSignImage(),
      ...images,
    },
  });
  const kubectl: Kubectl = async (args, input = '') => {
    const common = [`--kubeconfig=${cluster.kubeconfig}`, `--cache-dir=${join(directory.path, 'kubectl')}`];
    const running = promisify(execFile)(requireProgram('kubectl'), [...common, ...args]);
    running.child.stdin?.end(input);
    return (await running).stdout;
  };
  const items = objects.filter(({ kind }) => installedKinds.includes(kind));
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  await kubectl(['apply', '--server-side', '--filename=-'], list);
  const kubeconfigOf = async ({ namespace, name }: Account): Promise<string> => {
    const file = join(directory.path, `${namespace}.${name}.kubeconfig`);
    const token = await kubectl(['create', 'token', name, `--namespace=${namespace}`]);
    await writeKubeconfig(file, { like: cluster.kubeconfig, token: token.trim() });
    return file;
  };
  const kubeconfig = await kubeconfigOf(account);
  let started = 0;
  const operators = stack.use(new AsyncDisposableStack());
  const client = await cluster.client();
  const owned = stack.move();
  return {
    client,
    kubeconfig: cluster.kubeconfig,
    kubelet,
    account,
    kubectl,
    kubeconfigOf,
    async startOperator(configuration) {
      started += 1;
      const operator = await runOperator({
        command,
        env,
        directory: directory.path,
        namespace: account.namespace,
        kubeconfig,
        name: `operator-${started}`,
        configuration,
      });
      operators.defer(() => operator.process.stop());
      return operator;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const variable = z.object({ name: z.string(), value: z.string().optional() });
const controllerSchema = z.object({
  metadata: z.object({ namespace: z.string() }),
  spec: z.object({
    template: z.object({
      spec: z.object({
        serviceAccountName: z.string(),
        containers: z.tuple([z.object({ args: z.array(z.string()), env: z.array(variable) })]),
      }),
    }),
  }),
});

interface Controller {
  readonly account: Account;
  /** Of kmm-operator. */
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
}

/** How the Deployment of the operator's controller runs it. */
function readController(objects: readonly Manifest[]): Controller {
  const deployments = objects.filter(
    ({ kind, metadata }) => kind === 'Deployment' && metadata.labels?.[controllerLabel] === 'controller',
  );
  const [deployment, ...others] = deployments;
  if (deployment === undefined || others.length > 0)
    throw new Error(`there is not one controller: ${deployments.map(nameOf).join(', ')}`);
  const { metadata, spec } = controllerSchema.parse(deployment);
  const { serviceAccountName: name, containers } = spec.template.spec;
  const [{ args, env }] = containers;
  return {
    account: { namespace: metadata.namespace, name },
    command: args[0] ?? '',
    env: Object.fromEntries(
      env.flatMap(({ name: key, value }) => (value === undefined ? [] : [[key, value]])),
    ),
  };
}
