import { join } from 'node:path';
import { freePort, startProcess, type RunningProcess } from '../processes.ts';
import { requireProgram } from '../programs.ts';

export interface WorkAgentOptions {
  /** The ManagedCluster on the hub, and its namespace there. */
  readonly cluster: string;
  /** Paths of kubeconfigs. */
  readonly hub: string;
  readonly spoke: string;
  /** The agent's own namespace on the spoke. */
  readonly namespace: string;
  /** The directory for its output. */
  readonly directory: string;
}

/** Starts Open Cluster Management's work agent, which applies the ManifestWorks of a hub to a spoke. */
export async function startWorkAgent(options: WorkAgentOptions): Promise<RunningProcess> {
  const { cluster, hub, spoke, namespace, directory } = options;
  const args = [
    ['agent', `--spoke-cluster-name=${cluster}`, `--workload-source-config=${hub}`],
    [`--hub-kubeconfig=${hub}`, `--kubeconfig=${spoke}`, `--namespace=${namespace}`],
    ['--disable-leader-election'],
    // How often the status of the spoke's objects is synced; 10 seconds by default.
    ['--status-sync-interval=1s', `--listen=127.0.0.1:${await freePort()}`],
  ].flat();
  return startProcess(requireProgram('ocm-work'), args, {
    log: join(directory, 'agent.out'),
    cwd: directory,
  });
}
