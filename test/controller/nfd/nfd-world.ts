import { join } from 'node:path';
import * as z from 'zod';
import { conditions } from '../../../src/api/schema/kubernetes.ts';
import { objectMeta } from '../../../src/api/schema/resource.ts';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { nameOf, renderOverlay, run, type Manifest } from '../../deploy/manifests.ts';
import { runOperator, writeKubeconfig } from '../../end-to-end/operator-process.ts';
import { startApiServer, type ApiServer } from '../../support/api-server.ts';
import { installDefinitions, type Definition } from '../../support/custom-resources.ts';
import type { RunningProcess } from '../../support/processes.ts';

export const nfdNamespace = 'openshift-nfd';

const resource = z.looseObject({
  metadata: objectMeta,
  spec: z.unknown().optional(),
  status: z.looseObject({ conditions: conditions.optional(), image: z.string().optional() }).optional(),
});

/** An object, with the conditions that it may have. */
export type Observed = z.output<typeof resource>;

/** An API server on which `kmm-operator nfd` is installed, with the rights that its overlay gives it. */
export interface NfdWorld extends AsyncDisposable {
  readonly api: ApiServer;
  readonly client: ApiClient;
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Applies objects as a user does. */
  apply(object: object): Promise<string>;
  /** Returns an object by kubectl's name for it; undefined if it does not exist. */
  get(name: string): Promise<Observed | undefined>;
  /** Starts the operator. It ends with the world. */
  start(configuration?: object): Promise<RunningProcess>;
}

/** Installs an overlay. Its Deployment is a process here. */
export async function startNfdWorld({
  overlay,
  more = [],
}: {
  overlay: 'nfd' | 'nfd-openshift';
  more?: readonly Definition[];
}): Promise<NfdWorld> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await createTemporaryDirectory());
  const api = stack.use(await startApiServer());
  const client = await api.client();
  await installDefinitions(client, more);
  const kubectl = (args: readonly string[], input = ''): Promise<string> =>
    run(
      'kubectl',
      [`--kubeconfig=${api.kubeconfig}`, `--cache-dir=${join(directory.path, 'kubectl')}`, ...args],
      input,
    );
  const kubeconfig = await installNfd(await renderOverlay(overlay), {
    kubectl,
    client,
    directory: directory.path,
    like: api.kubeconfig,
  });
  const operators = stack.use(new AsyncDisposableStack());
  let started = 0;
  const owned = stack.move();
  return {
    api,
    client,
    kubectl,
    apply: (object) => kubectl(['apply', '--server-side', '--filename=-'], JSON.stringify(object)),
    async get(name) {
      const text = await kubectl([
        'get',
        name,
        `--namespace=${nfdNamespace}`,
        '--ignore-not-found',
        '--output=json',
      ]);
      return text === '' ? undefined : resource.parse(JSON.parse(text));
    },
    async start(configuration = {}) {
      started += 1;
      const name = `nfd-${started}`;
      const own = { command: 'nfd', env: {}, namespace: nfdNamespace, name, configuration };
      const { process } = await runOperator({ ...own, directory: directory.path, kubeconfig });
      operators.defer(() => process.stop());
      return process;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const isDefinition = ({ kind }: Manifest): boolean => kind === 'CustomResourceDefinition';

/** Applies all but the Deployment. Returns the path of a kubeconfig of the operator's account. */
export async function installNfd(
  objects: readonly Manifest[],
  {
    kubectl,
    client,
    directory,
    like,
  }: {
    kubectl: (args: readonly string[], input?: string) => Promise<string>;
    client: ApiClient;
    directory: string;
    like: string;
  },
): Promise<string> {
  await installDefinitions(client, objects.filter(isDefinition));
  const deployment = objects.find(({ kind }) => kind === 'Deployment');
  if (deployment === undefined) throw new Error(`there is no Deployment: ${objects.map(nameOf).join(', ')}`);
  const items = objects.filter((object) => !isDefinition(object) && object !== deployment);
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  await kubectl(['apply', '--server-side', '--validate=strict', '--filename=-'], list);
  const { serviceAccountName } = z
    .looseObject({ serviceAccountName: z.string() })
    .parse(deployment.spec?.template?.spec);
  return kubeconfigOf(serviceAccountName, { kubectl, directory, like });
}

/** Writes a kubeconfig of an account in NFD's namespace. Returns its path. */
export async function kubeconfigOf(
  account: string,
  {
    kubectl,
    directory,
    like,
  }: { kubectl: (args: readonly string[]) => Promise<string>; directory: string; like: string },
): Promise<string> {
  const token = await kubectl(['create', 'token', account, `--namespace=${nfdNamespace}`]);
  const file = join(directory, `${account}.kubeconfig`);
  await writeKubeconfig(file, { like, token: token.trim() });
  return file;
}
