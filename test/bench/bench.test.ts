import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { peerCase, type Subject } from '../../bench/cases.ts';
import { pickModules, withoutSignature } from '../../bench/kernel-modules.ts';
import { measure, median } from '../../bench/measure.ts';
import { pushBlob, restore, snapshot, startRegistry } from '../../bench/registry.ts';
import { startRelay } from '../../bench/relay.ts';
import { table } from '../../bench/table.ts';
import { describeWith } from '../support/programs.ts';

const subject: Subject = {
  source: 'a:1/x:unsigned',
  secureSource: '127.0.0.1:5001/vendor/driver:1.0',
  authority: 'ca.pem',
  destination: 'a:1/x:signed',
  elsewhere: 'a:1/y:signed',
  files: ['/opt/a.ko', '/opt/b.ko'],
  key: 'k.pem',
  cert: 'c.pem',
};

const blob = (content: string): Parameters<typeof pushBlob>[2] => ({
  digest: `sha256:${createHash('sha256').update(content).digest('hex')}`,
  size: content.length,
  content,
});
const cost = (wall: number): { wall: number; cpu: number; peak: number; left: number } => ({
  wall,
  cpu: wall,
  peak: 5e7,
  left: 0,
});

it.each(['run', 'hub-load', 'operator-load', 'registry-load'])('%s.ts starts outside of tests', (name) => {
  const program = fileURLToPath(new URL(`../../bench/${name}.ts`, import.meta.url));
  expect(execFileSync(process.execPath, [program, '--help'], { encoding: 'utf8' })).toContain(
    'npm run bench',
  );
});

describeWith(['docker-registry', 'sign-file', 'openssl', 'python3'], 'the benchmark', (programs) => {
  let directory: string;
  beforeAll(async () => void (directory = await mkdtemp(join(tmpdir(), 'bench-test-'))));
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('puts a peer’s words in place, also two in one word', () => {
    const peer = peerCase('other=prog  --from={source} {destination} -f {files} {key}:{cert} {unknown}');
    expect(peer.name).toBe('other');
    expect(peer.command(subject)).toEqual([
      'prog',
      '--from=a:1/x:unsigned',
      'a:1/x:signed',
      '-f',
      '/opt/a.ko:/opt/b.ko',
      'k.pem:c.pem',
      '{unknown}',
    ]);
  });

  it('refuses a peer without a name', () => {
    expect(() => peerCase('prog {source}')).toThrow('expected name=command');
  });

  it('strips what sign-file appended', async () => {
    const [key, cert, file] = ['key.pem', 'cert.pem', 'module.ko'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    const words =
      `req -new -x509 -newkey rsa:2048 -sha256 -nodes -subj /CN=x -keyout ${key} -out ${cert}`.split(' ');
    execFileSync('openssl', words, { stdio: 'ignore' });
    const original = randomBytes(5000);
    await writeFile(file, original);
    execFileSync(programs['sign-file'], ['sha256', key, cert, file]);
    const signed = await readFile(file);
    expect(signed.length).toBeGreaterThan(original.length);
    expect(withoutSignature(signed)).toEqual(original);
    expect(withoutSignature(original)).toEqual(original);
  });

  it('picks the modules whose total comes closest', () => {
    const modules = [90, 50, 40, 30, 20, 10].map((size) => ({ path: `${size}.ko`, size }));
    const sizes = (spread: boolean, bytes: number): number[] =>
      pickModules(modules, { count: 2, bytes, spread }).map(({ size }) => size);
    expect(sizes(false, 75)).toEqual([40, 30]);
    expect(sizes(true, 75)).toEqual([50, 20]);
    expect(() => pickModules(modules, { count: 7, bytes: 1, spread: false })).toThrow('only 6 of 7');
  });

  it('takes the middle, or the mean of the two middle ones', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });

  it('counts the time of children and what is left behind', async () => {
    const busy = 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; printf 12345 > $TMPDIR/left';
    const spent = await measure(['sh', '-c', `sh -c '${busy}'; true`]);
    expect(spent.left).toBe(5);
    expect(spent.cpu).toBeGreaterThan(0.01);
    await expect(measure(['sh', '-c', 'echo broken >&2; exit 3'])).rejects.toThrow(/ended with 3: broken/);
  });

  it('counts bytes in both directions', async () => {
    const server = createServer(
      (socket) => void socket.once('data', () => socket.end(Buffer.alloc(100_000))),
    );
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const relay = await startRelay(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    await new Promise((resolve, reject) => {
      const client = connect(Number(relay.host.split(':')[1]), '127.0.0.1', () => client.write('hello'));
      client
        .on('data', () => undefined)
        .on('close', resolve)
        .on('error', reject);
    });
    expect([relay.up(), relay.down()]).toEqual([5, 100_000]);
    await relay[Symbol.asyncDispose]();
    await new Promise((resolve) => void server.close(resolve));
  });

  it('puts the registry’s storage back, so that the next upload is a real one', async () => {
    await using registry = await startRegistry(join(directory, 'storage'));
    const there = async (content: string): Promise<boolean> =>
      (await fetch(`http://${registry.host}/v2/a/b/blobs/${blob(content).digest}`, { method: 'HEAD' })).ok;
    await pushBlob(registry.host, 'a/b', blob('kept'));
    const kept = await snapshot(registry.storage);
    await pushBlob(registry.host, 'a/b', blob('made by a run'));
    expect([await there('kept'), await there('made by a run')]).toEqual([true, true]);
    await restore(registry.storage, kept);
    expect([await there('kept'), await there('made by a run')]).toEqual([true, false]);
  });

  it('prints ratios to the first peer on the same image', () => {
    const traffic = { down: 2_000_000, up: 2_000 };
    const text = table(
      [
        { image: 'small', case: 'other', costs: [cost(4), cost(2), cost(9)], traffic },
        { image: 'small', case: 'append', costs: [cost(1)], traffic },
      ],
      'other',
    );
    expect(text).toContain('| small | append | 1.000 | 1.000 | 0.250 | 0.250 | 50 | 2.0 | 0.002 | 0.000 |');
  });
});
