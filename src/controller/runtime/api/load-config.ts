import type { KubeConfig } from '@kubernetes/client-node';

/** Reads the kubeconfig as kubectl does: the file given, else KUBECONFIG, else ~/.kube/config, else the pod's service account. */
export async function loadConfig(file?: string): Promise<KubeConfig> {
  const { KubeConfig: Config } = await import('@kubernetes/client-node/dist/config.js');
  const config = new Config();
  if (file === undefined) config.loadFromDefault();
  else config.loadFromFile(file);
  return config;
}
