import { testUser } from '../support/registries.ts';
import type { Kubectl } from './installed-cluster.ts';
import type { KeyPair } from './key-pair.ts';

/** Makes the Secret that lets pods pull from the private registry, by the command of the documents. */
export async function createPullSecret(
  kubectl: Kubectl,
  { namespace, host }: { readonly namespace: string; readonly host: string },
): Promise<void> {
  await kubectl([
    ...'create secret docker-registry repo-pull-secret'.split(' '),
    `--namespace=${namespace}`,
    `--docker-server=${host}`,
    `--docker-username=${testUser.username}`,
    `--docker-password=${testUser.password}`,
  ]);
}

/** Makes the Secrets with what Modules are signed by, by the commands of the documents. */
export async function createSigningSecrets(
  kubectl: Kubectl,
  { namespace, key }: { readonly namespace: string; readonly key: KeyPair },
): Promise<void> {
  const create = (name: string, file: string): Promise<string> =>
    kubectl(['create', 'secret', 'generic', name, `--namespace=${namespace}`, `--from-file=${file}`]);
  await create('my-signing-key', `key=${key.key}`);
  await create('my-signing-key-pub', `cert=${key.certificate}`);
}

/** Lets the operator of a cluster read what the Modules of a namespace refer to, as docs/install.md says. */
export async function allowReferences(
  kubectl: Kubectl,
  { namespace, account }: { readonly namespace: string; readonly account: string },
): Promise<void> {
  await kubectl([
    ...'create rolebinding kmm-operator-references --clusterrole=kmm-operator-references'.split(' '),
    `--namespace=${namespace}`,
    `--serviceaccount=${account}`,
  ]);
}
