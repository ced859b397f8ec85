import { connect } from 'node:net';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, startProcess } from './processes.ts';
import { requireProgram } from './programs.ts';

/** A real forward proxy (squid) on a free port of 127.0.0.1. */
export interface ForwardProxy extends AsyncDisposable {
  /** `127.0.0.1:23128` */
  readonly host: string;
  /**
   * Returns the requests so far: `CONNECT registry.test:443`, `GET http://registry.test/v2/`. They are logged
   * when a connection ends.
   */
  asked(): Promise<string[]>;
}

/** Milliseconds for squid to start, on a busy machine. */
const patience = 60_000;

/** Starts a proxy that resolves these names, and no others, to this machine. */
export async function startForwardProxy(names: readonly string[]): Promise<ForwardProxy> {
  const folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-proxy-'));
  const port = await freePort();
  const [config, hosts, access] = ['squid.conf', 'hosts', 'access.log'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await writeFile(hosts, names.map((name) => `127.0.0.1 ${name}\n`).join(''));
  // When started by root, squid runs as another user.
  await chmod(folder, 0o777);
  await writeFile(
    config,
    [
      `http_port 127.0.0.1:${port}`,
      `hosts_file ${hosts}`,
      `pid_filename ${join(folder, 'pid')}`,
      'cache deny all',
      'cache_mem 0 MB',
      `cache_log ${join(folder, 'cache.log')}`,
      'logformat request %rm %ru',
      `access_log stdio:${access} request`,
      'buffered_logs off',
      'http_access allow all',
      'shutdown_lifetime 0 seconds',
      'pinger_enable off',
      'dns_v4_first on',
      '',
    ].join('\n'),
  );
  const squid = startProcess(requireProgram('squid'), ['-N', '-f', config], { log: join(folder, 'log') });
  const deadline = Date.now() + patience;
  while (!(await accepts(port))) {
    if (squid.exited || Date.now() > deadline) throw new Error(`squid did not start:\n${squid.output()}`);
    await delay(25);
  }
  return {
    host: `127.0.0.1:${port}`,
    asked: async () =>
      (await readFile(access, 'utf8').catch(() => ''))
        .trim()
        .split('\n')
        .filter((line) => line !== ''),
    async [Symbol.asyncDispose]() {
      await squid.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
