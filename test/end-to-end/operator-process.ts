import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { freePort, type RunningProcess } from '../support/processes.ts';
import { startOperator } from '../controller/operator/start-operator.ts';

/** A kmm-operator that was started. */
export interface OperatorProcess {
  readonly process: RunningProcess;
  /** What is at /metrics. */
  metrics(): Promise<string>;
}

export interface OperatorProcessOptions {
  /** Of kmm-operator. */
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
  readonly directory: string;
  readonly namespace: string;
  readonly kubeconfig: string;
  readonly name: string;
  readonly configuration: object;
}

/** Starts kmm-operator on a cluster, as its Deployment does. */
export async function runOperator(options: OperatorProcessOptions): Promise<OperatorProcess> {
  const { command, env, directory, namespace, kubeconfig, name } = options;
  const [health, metrics] = [await freePort(), await freePort()];
  const configuration = {
    healthProbeBindAddress: `127.0.0.1:${health}`,
    metrics: { bindAddress: `127.0.0.1:${metrics}`, secureServing: false, enableAuthnAuthz: false },
    ...options.configuration,
  };
  const file = join(directory, `${name}.yaml`);
  await writeFile(file, stringify(configuration));
  const args = [command, '--config', file, `--kubeconfig=${kubeconfig}`];
  const process = startOperator({ args, environment: env, directory, name, namespace });
  return {
    process,
    metrics: async () => (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text(),
  };
}

/** Writes a kubeconfig for somebody else, who has a token. */
export async function writeKubeconfig(
  file: string,
  { like, token }: { like: string; token: string },
): Promise<void> {
  const config = parse(await readFile(like, 'utf8')) as { users: { name: string; user: object }[] };
  const users = config.users.map(({ name }) => ({ name, user: { token } }));
  await writeFile(file, stringify({ ...config, users }), { mode: 0o600 });
}
