import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { demoModule, startDemoRegistry, type DemoRegistry } from './demo-registry.ts';
import { finished, runProgram, startProgram, type RunOptions } from './run-program.ts';
import { describeWith } from '../support/programs.ts';

const digestLine = /^\S+@(sha256:[0-9a-f]{64})$/;

let registry: DemoRegistry;
let directory: string;
let vendor: string;
let signed: string;

beforeAll(async () => {
  registry = await startDemoRegistry();
  directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
  vendor = `${registry.address}/vendor/driver:1.0`;
  signed = `${registry.address}/signed/driver:1.0`;
});

afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** Runs a command against the registry of these tests. */
const run = (args: readonly string[], options?: RunOptions) =>
  runProgram([...args, '--plain-http', '--retries', '0'], options);

const signArguments = (source: string, destination: string) => [
  'sign',
  source,
  destination,
  '--key',
  registry.key,
  '--cert',
  registry.certificate,
];

describe('sign', () => {
  test('ends stdout with the reference of the result, and nothing else goes there in between', async () => {
    const destination = `${registry.address}/test/last-line:1`;
    const { stdout, stderr, exitCode } = await run(signArguments(vendor, destination));
    expect(exitCode).toBe(0);
    const last = stdout.trimEnd().split('\n').at(-1) ?? '';
    const [, digest] = digestLine.exec(last) ?? [];
    const resolved = await run(['resolve', destination]);
    expect(resolved.stdout).toBe(`${digest}\n`);
    expect(stderr).toContain('Verified 1 module');
    expect(stderr).not.toContain('\u001B');
  });

  test('prints one JSON document with --format json', async () => {
    const { stdout, exitCode } = await run([
      ...signArguments(vendor, `${registry.address}/test/json:1`),
      '--format',
      'json',
      '--quiet',
    ]);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      schemaVersion: 1,
      status: 'signed',
      hash: 'sha256',
      mode: 'rewrite',
      platforms: [{ modules: [{ path: demoModule, action: 'signed' }] }],
    });
  });

  test('writes the digest without a newline with --digest-file', async () => {
    const file = join(directory, 'digest');
    const destination = `${registry.address}/test/digest-file:1`;
    await run([...signArguments(vendor, destination), '--digest-file', file]);
    const resolved = await run(['resolve', destination]);
    expect(await readFile(file, 'utf8')).toBe(resolved.stdout.trim());
  });

  test('says nothing on stderr with --quiet', async () => {
    const { stderr, exitCode } = await run([
      ...signArguments(vendor, `${registry.address}/test/quiet:1`),
      '-q',
    ]);
    expect(exitCode).toBe(0);
    expect(stderr).toBe('');
  });

  test('plans without writing with --dry-run', async () => {
    const destination = `${registry.address}/test/dry-run:1`;
    const { stdout, exitCode } = await run([...signArguments(vendor, destination), '--dry-run']);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('would sign');
    expect((await run(['exists', destination])).exitCode).toBe(3);
  });

  test('says "unchanged" the second time', async () => {
    const { stdout, exitCode } = await run([
      ...signArguments(vendor, signed),
      '--file',
      demoModule,
      '--format',
      'json',
    ]);
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ status: 'unchanged', bytesUp: 0 });
  });

  test.for(['source', 'destination'])(
    'a --format json log on stderr is JSON line by line (%s)',
    async (what) => {
      const { stderr } = await run([
        ...signArguments(vendor, `${registry.address}/test/log-${what}:1`),
        '--log-format',
        'json',
      ]);
      const lines = stderr.trimEnd().split('\n');
      expect(lines.length).toBeGreaterThan(2);
      for (const line of lines)
        expect(JSON.parse(line)).toMatchObject({ level: 'info', message: 'Progress' });
    },
  );

  test('a pattern that matches nothing gets exit code 6 and leaves no destination', async () => {
    const destination = `${registry.address}/test/unmatched:1`;
    const { stderr, exitCode } = await run([
      ...signArguments(vendor, destination),
      '--file',
      '/nowhere/*.ko',
    ]);
    expect(exitCode).toBe(6);
    expect(stderr).toContain('/nowhere/*.ko');
    expect((await run(['exists', destination])).exitCode).toBe(3);
  });

  test('a key that does not match the certificate gets exit code 13 before anything is downloaded', async () => {
    const other = join(directory, 'other');
    await runProgram(['keygen', '-o', other, '--bits', '2048']);
    const { stderr, exitCode } = await run([
      'sign',
      '127.0.0.1:1/unreachable',
      '127.0.0.1:1/unreachable',
      '--key',
      join(other, 'signing_key.key'),
      '--cert',
      registry.certificate,
    ]);
    expect(exitCode).toBe(13);
    expect(stderr).toContain('does not match');
  });
});

describe('verify and inspect', () => {
  test('verify accepts the signed image and refuses the vendor’s with exit code 10', async () => {
    const good = await run(['verify', signed, '--cert', registry.certificate, '--format', 'json']);
    expect(good.exitCode).toBe(0);
    expect(JSON.parse(good.stdout)).toMatchObject({ schemaVersion: 1, worst: 'trusted' });
    const bad = await run(['verify', vendor, '--cert', registry.certificate]);
    expect(bad.exitCode).toBe(10);
    expect(bad.stdout).toContain(`unsigned  ${demoModule}`);
  });

  test('another certificate is not trusted: exit code 11', async () => {
    const other = join(directory, 'stranger');
    await runProgram(['keygen', '-o', other, '--bits', '2048']);
    const { exitCode } = await run(['verify', signed, '--cert', join(other, 'signing_key.pem')]);
    expect(exitCode).toBe(11);
  });

  test('inspect needs no certificate and calls nothing a failure', async () => {
    const { stdout, exitCode } = await run(['inspect', vendor]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/unsigned +\/lib\/modules\/\S+hello\.ko/);
  });
});

describe('resolve and exists', () => {
  test('resolve prints the digest, or the reference with --full-reference', async () => {
    const plain = await run(['resolve', vendor]);
    const full = await run(['resolve', vendor, '--full-reference']);
    expect(plain.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    expect(full.stdout).toBe(`${registry.address}/vendor/driver@${plain.stdout}`);
  });

  test('resolve --platform gives an image of that platform, or says that there is none', async () => {
    const { stdout } = await run(['resolve', vendor]);
    expect(await run(['resolve', vendor, '--platform', 'linux/amd64'])).toMatchObject({
      exitCode: 0,
      stdout,
    });
    const other = await run(['resolve', vendor, '--platform', 'linux/arm64', '--format', 'json']);
    expect(other).toMatchObject({ exitCode: 3, stdout: '' });
    expect(JSON.parse(other.stderr)).toMatchObject({ error: { code: 'PLATFORM_NOT_FOUND' } });
  });

  test('exists says yes with 0 and no with 3', async () => {
    expect(await run(['exists', vendor])).toMatchObject({ exitCode: 0, stdout: 'exists\n' });
    const missing = await run(['exists', `${registry.address}/vendor/driver:2.0`, '--format', 'json']);
    expect(missing.exitCode).toBe(3);
    expect(JSON.parse(missing.stdout)).toMatchObject({ schemaVersion: 1, exists: false, digest: null });
  });

  test('whatever keeps the registry from answering is not "no"', async () => {
    expect((await run(['exists', '127.0.0.1:1/vendor/driver'])).exitCode).toBe(5);
  });
});

describeWith(['modinfo'], 'extract', ({ modinfo }) => {
  test('writes the module as it is in the image', async () => {
    const target = join(directory, 'extracted');
    const { exitCode } = await run(['extract', signed, '-o', target]);
    expect(exitCode).toBe(0);
    const { stdout } = await promisify(execFile)(modinfo, ['-F', 'signer', join(target, demoModule)]);
    expect(stdout.trim()).toBe('kmm-sign demo');
  });
});

describe('compat signimage', () => {
  test('signs as told by one-dash flags', async () => {
    const destination = `${registry.address}/test/compat:1`;
    const { exitCode, stdout } = await runProgram([
      'compat',
      'signimage',
      '-unsignedimage',
      vendor,
      `-signedimage=${destination}`,
      '-filestosign',
      demoModule,
      '-key',
      registry.key,
      '--cert',
      registry.certificate,
      '-insecure',
      '-insecure-pull=true',
    ]);
    expect(exitCode).toBe(0);
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(digestLine);
    expect((await run(['verify', destination, '--cert', registry.certificate])).exitCode).toBe(0);
  });

  test('-no-push writes nothing', async () => {
    const destination = `${registry.address}/test/compat-no-push:1`;
    const flags = [
      '-unsignedimage',
      vendor,
      '-signedimage',
      destination,
      '-key',
      registry.key,
      '-cert',
      registry.certificate,
    ];
    const { exitCode } = await runProgram([
      'compat',
      'signimage',
      ...flags,
      '-no-push',
      '-insecure',
      '-insecure-pull',
    ]);
    expect(exitCode).toBe(0);
    expect((await run(['exists', destination])).exitCode).toBe(3);
  });
});

describe('a registry that wants to know who asks', () => {
  let silent: Server;
  let seen: (string | undefined)[];
  let address: string;

  beforeAll(async () => {
    seen = [];
    silent = createServer((request, response) => {
      if (request.url?.includes('silent') === true) return;
      seen.push(request.headers.authorization);
      response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
    });
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const bound = silent.address();
    if (typeof bound !== 'object' || bound === null) throw new Error('no address');
    address = `127.0.0.1:${bound.port}`;
  });

  afterAll(() => {
    silent.closeAllConnections();
    silent.close();
  });

  const password = 'correct-horse-battery';

  test('gets the password from stdin, which shows up nowhere, and a refusal is exit code 4', async () => {
    const { stdout, stderr, exitCode } = await run(
      ['exists', `${address}/a`, '--username', 'somebody', '--password-stdin', '-v', 'debug'],
      { input: `${password}\n` },
    );
    expect(exitCode).toBe(4);
    const basic = Buffer.from(`somebody:${password}`).toString('base64');
    expect(seen).toContain(`Basic ${basic}`);
    for (const secret of [password, basic]) expect(stdout + stderr).not.toContain(secret);
  });

  test('gets the password of --password-file', async () => {
    const file = join(directory, 'password');
    await writeFile(file, 'from-a-file\n');
    await run(['exists', `${address}/a`, '--username', 'somebody', '--password-file', file]);
    expect(seen).toContain(`Basic ${Buffer.from('somebody:from-a-file').toString('base64')}`);
  });

  test('gets those of --authfile, and none with --anonymous', async () => {
    const file = join(directory, 'auth.json');
    const auth = Buffer.from('robot:token').toString('base64');
    await writeFile(file, JSON.stringify({ auths: { [address]: { auth } } }));
    seen.length = 0;
    await run(['exists', `${address}/a`, '--anonymous'], { env: { REGISTRY_AUTH_FILE: file } });
    expect(seen.filter((one) => one !== undefined)).toEqual([]);
    await run(['exists', `${address}/a`, '--authfile', file]);
    expect(seen).toContain(`Basic ${auth}`);
  });

  test('a REGISTRY_AUTH_FILE that does not exist is like none, with a warning; one that --authfile names is an error', async () => {
    const file = join(directory, 'missing.json');
    const auth = Buffer.from('other:place').toString('base64');
    const config = join(directory, 'docker');
    await mkdir(config);
    await writeFile(join(config, 'config.json'), JSON.stringify({ auths: { [address]: { auth } } }));
    const env = { REGISTRY_AUTH_FILE: file, DOCKER_CONFIG: config };
    const { stderr } = await run(['exists', `${address}/a`], { env });
    expect(stderr).toMatch(/^warning: The auth file does not exist.*missing\.json$/m);
    expect(seen).toContain(`Basic ${auth}`);
    const named = await run(['exists', `${address}/a`, '--authfile', file]);
    expect(named).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(file) });
  });

  test('a REGISTRY_AUTH_FILE that is there and cannot be read is an error', async () => {
    const { exitCode, stderr } = await run(['exists', `${address}/a`], {
      env: { REGISTRY_AUTH_FILE: directory },
    });
    expect(stderr).toContain('EISDIR');
    expect(exitCode).toBe(2);
  });

  test('--timeout ends a run that hangs, with exit code 124', async () => {
    const { exitCode, stderr } = await run(['exists', `${address}/silent`, '--timeout', '300ms']);
    expect(exitCode).toBe(124);
    expect(stderr).toContain('--timeout');
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s ends a run that hangs, with exit code 130',
    async (signal) => {
      const asked = once(silent, 'request');
      const child = startProgram(['exists', `${address}/silent`, '--plain-http']);
      const ended = finished(child);
      await asked;
      child.kill(signal);
      expect(await ended).toMatchObject({ exitCode: 130, signal: null });
    },
  );
});

test('a run that times out leaves nothing in the temporary directory', async () => {
  let asked = 0;
  const giveManifest = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const answer = await fetch(`http://${registry.address}${request.url}`, {
      headers: { accept: request.headers.accept ?? '*/*' },
    });
    response.writeHead(answer.status, {
      'content-type': answer.headers.get('content-type') ?? '',
      'docker-content-digest': answer.headers.get('docker-content-digest') ?? '',
    });
    response.end(Buffer.from(await answer.arrayBuffer()));
  };
  // Blobs never come.
  const slow = createServer((request, response) => {
    if (request.url?.includes('/blobs/') === true) asked += 1;
    else void giveManifest(request, response);
  });
  slow.listen(0, '127.0.0.1');
  await once(slow, 'listening');
  const { port } = slow.address() as AddressInfo;
  const temporary = await mkdtemp(join(directory, 'tmp-'));
  const destination = `${registry.address}/test/interrupted:1`;
  const args = signArguments(`127.0.0.1:${port}/vendor/driver:1.0`, destination);
  const { exitCode } = await run([...args, '--timeout', '6s'], { env: { TMPDIR: temporary } });
  slow.closeAllConnections();
  slow.close();
  expect(asked).toBeGreaterThan(0);
  expect(exitCode).toBe(124);
  expect(await readdir(temporary)).toEqual([]);
  expect((await run(['exists', destination])).exitCode).toBe(3);
});
