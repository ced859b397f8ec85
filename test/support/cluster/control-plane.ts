import { once } from 'node:events';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, startProcess, type RunningProcess } from '../processes.ts';
import { requireProgram } from '../programs.ts';

const defaultControllers = [
  'job-controller',
  'daemonset-controller',
  'replicaset-controller',
  'deployment-controller',
  'garbage-collector-controller',
  'namespace-controller',
  'serviceaccount-controller',
  'ttl-after-finished-controller',
];

/** Milliseconds within which a program must be healthy. */
const startLimit = 60_000;

/**
 * Starts kube-controller-manager and kube-scheduler as an administrator. `rootAuthority` is the PEM file of the
 * authority that pods trust in the API server.
 */
export async function startControlPlane({
  kubeconfig,
  directory,
  controllers = defaultControllers,
  rootAuthority,
}: {
  kubeconfig: string;
  directory: string;
  controllers?: readonly string[];
  rootAuthority?: string;
}): Promise<AsyncDisposable> {
  const own: Readonly<Record<string, readonly string[]>> = {
    'kube-controller-manager': [
      `--controllers=${controllers.join(',')}`,
      '--use-service-account-credentials=false',
      '--namespace-sync-period=5s',
      ...(rootAuthority === undefined ? [] : [`--root-ca-file=${rootAuthority}`]),
    ],
    'kube-scheduler': [],
  };
  const started: RunningProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((one) => one.stop('SIGKILL')));
  };
  const start = async (name: 'kube-controller-manager' | 'kube-scheduler'): Promise<void> => {
    const port = await freePort();
    const args = [
      ['--leader-elect=false', '--bind-address=127.0.0.1', `--secure-port=${port}`],
      [`--kubeconfig=${kubeconfig}`, `--cert-dir=${join(directory, name)}`],
      ['--kube-api-qps=500', '--kube-api-burst=1000', ...(own[name] ?? [])],
    ].flat();
    const program = startProcess(requireProgram(name), args, { log: join(directory, `${name}.out`) });
    started.push(program);
    await waitUntilHealthy(name, port, program);
  };
  try {
    await Promise.all([start('kube-controller-manager'), start('kube-scheduler')]);
  } catch (error) {
    await stop();
    throw error;
  }
  return { [Symbol.asyncDispose]: stop };
}

async function waitUntilHealthy(name: string, port: number, program: RunningProcess): Promise<void> {
  const limit = AbortSignal.timeout(startLimit);
  while (!(await isHealthy(port))) {
    if (program.exited || limit.aborted) throw new Error(`${name} did not start: ${program.output()}`);
    await sleep(100);
  }
}

/** Checks the health endpoint, whose certificate is self-signed. */
async function isHealthy(port: number): Promise<boolean> {
  const sent = request({
    host: '127.0.0.1',
    port,
    path: '/healthz',
    agent: false,
    rejectUnauthorized: false,
  }).end();
  try {
    const [response] = (await once(sent, 'response')) as [NodeJS.ReadableStream & { statusCode?: number }];
    response.resume();
    return response.statusCode === 200;
  } catch {
    return false;
  }
}
