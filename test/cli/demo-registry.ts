import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram, startProgram } from './run-program.ts';

/** What `kmm-sign demo --keep` leaves, served again by `kmm-sign registry`. */
export interface DemoRegistry extends AsyncDisposable {
  readonly directory: string;
  /** `127.0.0.1:40123` */
  readonly address: string;
  readonly key: string;
  readonly certificate: string;
  /** What the demonstration printed as JSON. */
  readonly story: unknown;
}

export const demoModule = '/lib/modules/6.1.0-56-amd64/extra/hello.ko';

/** Runs the demonstration and serves its registry, with further arguments for `kmm-sign registry`. */
export async function startDemoRegistry(args: readonly string[] = []): Promise<DemoRegistry> {
  const directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  const demo = await runProgram(['demo', '--keep', directory, '--format', 'json']);
  if (demo.exitCode !== 0) throw new Error(`the demonstration failed: ${demo.stderr}`);
  const server = startProgram([
    'registry',
    '--root',
    join(directory, 'registry'),
    '--listen',
    '127.0.0.1:0',
    ...args,
  ]);
  const address = await new Promise<string>((resolve, reject) => {
    let output = '';
    server.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      const [, found] = /:\/\/(127\.0\.0\.1:\d+)/.exec(output) ?? [];
      if (found !== undefined) resolve(found);
    });
    server.once('exit', () => reject(new Error('the registry ended')));
  });
  return {
    directory,
    address,
    key: join(directory, 'signing_key.key'),
    certificate: join(directory, 'signing_key.pem'),
    story: JSON.parse(demo.stdout),
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGTERM');
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
