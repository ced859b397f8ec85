import type { KubeConfig } from '@kubernetes/client-node';

/** Reads the kubeconfig as kubectl does: the file given, else KUBECONFIG, else ~/.kube/config, else the pod's service account. */
export async function loadConfig(file?: string): Promise<KubeConfig> {
  const kubernetes = await import('@kubernetes/client-node');
  const config = new kubernetes.KubeConfig();
  if (file === undefined) config.loadFromDefault();
  else config.loadFromFile(file);
  return config;
}
