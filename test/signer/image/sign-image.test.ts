import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { execa } from 'execa';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  signTag,
  type ImageRepository,
  type SignImageOptions,
  type SignReport,
  verifyImage,
  noReferrers,
  sha256,
  storeImage,
  sum,
  withParents,
  type TestEntry,
  type TestImage,
  createTestKey,
  useSigningBench,
} from '../../support/signed-images.ts';
import { describeWith, type ProgramPaths } from '../../support/programs.ts';

const bench = useSigningBench();
let count: number;
let source: ImageRepository;
let destination: ImageRepository;

beforeEach(() => {
  ({ count, source, destination } = bench.freshPair('driver'));
});

async function sign(image: TestImage, options: Partial<SignImageOptions> = {}): Promise<SignReport> {
  await storeImage(source, image, '1.0');
  return signAgain(options);
}

function signAgain(options: Partial<SignImageOptions> = {}): Promise<SignReport> {
  return signTag(source, destination, bench.key.signer, options);
}

async function states(options: { certificates?: 'ours' | 'none' } = {}): Promise<Record<string, string>> {
  const certificates = options.certificates === 'none' ? [] : [bench.key.signer.certificate];
  const image = { repository: destination, selector: { tag: '1.0' } };
  const { platforms } = await verifyImage({ image, certificates });
  return Object.fromEntries(
    platforms.flatMap(({ modules }) => modules.map(({ path, state }) => [path, state])),
  );
}

function actions(report: SignReport): Record<string, string> {
  return Object.fromEntries(
    report.platforms.flatMap(({ modules }) => modules.map(({ path, action }) => [path, action])),
  );
}

async function xzOf(args: readonly string[], input: Buffer): Promise<Buffer> {
  const { stdout } = await execa('xz', args, { input, encoding: 'buffer', stripFinalNewline: false });
  return Buffer.from(stdout);
}

async function contentOf(path: string): Promise<string> {
  const stat = await lstat(path);
  if (stat.isSymbolicLink()) return readlink(path);
  return stat.isFile() ? `${stat.nlink} links ${describeBytes(await readFile(path))}` : '';
}

function describeBytes(bytes: Buffer): string {
  return `${bytes.length} ${sha256(bytes)}`;
}

/** Paths below a folder, links not followed. */
async function* walk(folder: string, path = '/'): AsyncGenerator<string> {
  for (const entry of await readdir(join(folder, path), { withFileTypes: true })) {
    yield join(path, entry.name);
    if (entry.isDirectory()) yield* walk(folder, join(path, entry.name));
  }
}

/** Everything that an image unpacks to, as umoci sees it: one line a file, with its content's digest. */
async function unpack(
  { skopeo, umoci }: ProgramPaths<'skopeo' | 'umoci'>,
  repository: ImageRepository,
): Promise<{ files: Record<string, string>; rootfs: string }> {
  const layout = join(bench.folder, `layout-${count}-${sha256(Buffer.from(repository.name)).slice(0, 8)}`);
  await execa(skopeo, [
    'copy',
    '--src-tls-verify=false',
    `docker://${repository.name}:1.0`,
    `oci:${layout}:1.0`,
  ]);
  await execa(umoci, ['unpack', '--image', `${layout}:1.0`, `${layout}-unpacked`]);
  const rootfs = join(`${layout}-unpacked`, 'rootfs');
  const files: Record<string, string> = {};
  for await (const name of walk(rootfs)) {
    const path = join(rootfs, name);
    const stat = await lstat(path);
    // Directories that no layer has an entry for get the time of unpacking.
    const time = stat.isDirectory() ? '' : stat.mtimeMs;
    files[name] = [stat.mode.toString(8), stat.uid, stat.gid, time, await contentOf(path)].join(' ');
  }
  return { files, rootfs };
}

async function signedByKernelTree({ 'sign-file': signFile }: ProgramPaths<'sign-file'>): Promise<Buffer> {
  const module = join(bench.folder, `oracle-${count}.ko`);
  await writeFile(module, bench.hello);
  await execa(signFile, ['sha256', bench.key.key, bench.key.certificate, module]);
  return readFile(module);
}

describeWith(
  ['skopeo', 'umoci', 'sign-file', 'modinfo'],
  'an image whose modules were signed',
  (programs) => {
    describe.each(['rewrite', 'append'] as const)('in mode %s', (mode) => {
      it.each(['oci', 'docker'] as const)('differs in nothing but its modules (%s)', async (family) => {
        const { hello } = bench;
        const report = await sign(
          {
            family,
            layers: [
              {
                entries: [
                  ...withParents('etc/os-release', 'ID=example\n'),
                  { name: 'lib', type: 'symlink', linkname: 'usr/lib' },
                  { name: 'usr/' },
                  { name: 'usr/lib/' },
                ],
              },
              {
                entries: [
                  ...withParents('opt/lib/modules/6.1/hello.ko', hello, {
                    mode: 0o640,
                    uid: 1234567890,
                    gid: 55,
                    uname: 'builder',
                  }),
                  { name: 'opt/lib/modules/6.1/link.ko', type: 'symlink', linkname: 'hello.ko' },
                  {
                    name: 'opt/lib/modules/6.1/hard.ko',
                    type: 'link',
                    linkname: 'opt/lib/modules/6.1/hello.ko',
                  },
                  { name: 'opt/tool', content: '#!/bin/sh\n', mode: 0o4755 },
                  { name: `opt/${'long/'.repeat(40)}name`, content: 'deep' },
                ],
              },
              {
                entries: [{ name: 'lib/modules/6.1/extra/hello.ko', content: hello }],
                ...(family === 'oci' ? { compression: 'none' as const } : {}),
              },
            ],
          },
          { mode },
        );
        expect(actions(report)).toEqual({
          '/opt/lib/modules/6.1/hello.ko': 'signed',
          '/lib/modules/6.1/extra/hello.ko': 'signed',
        });
        const before = await unpack(programs, source);
        const after = await unpack(programs, destination);
        const modules = [
          '/opt/lib/modules/6.1/hello.ko',
          '/opt/lib/modules/6.1/hard.ko',
          '/usr/lib/modules/6.1/extra/hello.ko',
        ];
        const expected = await signedByKernelTree(programs);
        const signed = describeBytes(expected);
        for (const path of modules) {
          before.files[path] = (before.files[path] ?? '').replace(describeBytes(hello), signed);
        }
        expect(after.files).toEqual(before.files);
        const { stdout } = await execa(programs.modinfo, [
          '-F',
          'signer',
          join(after.rootfs, modules[0] ?? ''),
        ]);
        expect(stdout).toBe('signing');
      });
    });

    it('has the bytes that sign-file makes, when that is the program that signs', async () => {
      const { key, certificate } = bench.key;
      const image = { layers: [{ entries: withParents('m/hello.ko', bench.hello) }] };
      await sign(image, { signFile: { program: programs['sign-file'], key, certificate } });
      const { rootfs } = await unpack(programs, destination);
      expect(await readFile(join(rootfs, 'm/hello.ko'))).toEqual(await signedByKernelTree(programs));
      expect(await states()).toEqual({ '/m/hello.ko': 'trusted' });
    });

    it('gives sign-file its files in the temporary directory of the run', async () => {
      const [temporaryDirectory, program] = [join(bench.folder, 'temporary'), join(bench.folder, 'traced')];
      await mkdir(temporaryDirectory);
      const places = join(bench.folder, 'places');
      const line = `readlink "$4" "$5" > ${places}; exec ${programs['sign-file']} "$@"`;
      await writeFile(program, `#!/bin/sh\n${line}\n`, { mode: 0o755 });
      const { key, certificate } = bench.key;
      const image = { layers: [{ entries: withParents('m/hello.ko', bench.hello) }] };
      await sign(image, { signFile: { program, key, certificate }, temporaryDirectory });
      const files = (await readFile(places, 'utf8')).trimEnd().split('\n');
      expect(files.map((file) => dirname(file))).toEqual([temporaryDirectory, temporaryDirectory]);
    });

    it('holds compressed modules compressed as they were, signed inside', async () => {
      const { hello } = bench;
      const xz = await xzOf(['--check=crc32', '-c'], hello);
      await sign({
        layers: [
          {
            entries: [
              ...withParents('m/a.ko.gz', gzipSync(hello)),
              { name: 'm/b.ko.zst', content: zstdCompressSync(hello) },
              { name: 'm/c.ko.xz', content: xz },
            ],
          },
        ],
      });
      const { rootfs } = await unpack(programs, destination);
      const expected = await signedByKernelTree(programs);
      expect(gunzipSync(await readFile(join(rootfs, 'm/a.ko.gz')))).toEqual(expected);
      expect(zstdDecompressSync(await readFile(join(rootfs, 'm/b.ko.zst')))).toEqual(expected);
      const xzSigned = await readFile(join(rootfs, 'm/c.ko.xz'));
      expect(await xzOf(['-dc'], xzSigned)).toEqual(expected);
      // What a kernel's own decoder takes: CRC32 and nothing larger than it allocates (Documentation/staging/xz.rst).
      await writeFile(join(bench.folder, 'c.ko.xz'), xzSigned);
      const { stdout } = await execa('xz', ['--list', '--verbose', join(bench.folder, 'c.ko.xz')]);
      expect(stdout).toContain('CRC32');
    });
  },
);

describe('signImage', () => {
  it('signs what a container sees and nothing else', async () => {
    const { hello } = bench;
    const report = await sign({
      layers: [
        {
          entries: [
            ...withParents('m/deleted.ko', hello),
            { name: 'm/replaced.ko', content: hello },
            { name: 'm/kept.ko', content: hello },
            ...withParents('opaque/hidden.ko', hello),
          ],
        },
        {
          entries: [
            { name: 'm/' },
            { name: 'm/.wh.deleted.ko', content: '' },
            { name: 'm/replaced.ko', content: Buffer.concat([hello, Buffer.from('x')]) },
            { name: 'opaque/' },
            { name: 'opaque/.wh..wh..opq', content: '' },
            { name: 'twice.ko', content: 'the first of two entries is not what counts' },
            { name: './twice.ko', content: hello },
            { name: 'notes.txt', content: 'no module' },
          ],
        },
      ],
    });
    expect(actions(report)).toEqual({
      '/m/kept.ko': 'signed',
      '/m/replaced.ko': 'signed',
      '/twice.ko': 'signed',
    });
    expect(await states()).toEqual({
      '/m/kept.ko': 'trusted',
      '/m/replaced.ko': 'trusted',
      '/twice.ko': 'trusted',
    });
  });

  it('reads no layer below the one that decides, and writes no layer but that', async () => {
    const report = await sign(
      {
        layers: [
          { entries: withParents('usr/share/large', randomBytes(300_000)) },
          { entries: withParents('opt/a.ko', bench.hello) },
        ],
      },
      { files: ['/opt/a.ko'] },
    );
    const manifest = await destination.getManifest({ tag: '1.0' });
    const original = await source.getManifest({ tag: '1.0' });
    if (original.kind !== 'image') throw new Error('the source holds no image');
    const [lower, moduleLayer] = original.layers;
    expect(report.platforms[0]).toMatchObject({ layersRead: 1 });
    const read = [original.raw.bytes.length, original.config.size, moduleLayer?.size ?? 0, noReferrers];
    // The manifest that was stored is read to compare it.
    expect(report.bytesDown).toBe(sum([...read, manifest.raw.bytes.length]));
    expect(manifest).toMatchObject({ layers: [{ digest: lower?.digest }, {}] });
  });

  it('finds a file by a path that leads through symbolic links', async () => {
    const layers = [
      {
        entries: [
          { name: 'lib', type: 'symlink' as const, linkname: 'usr/lib' },
          { name: 'usr/' },
          { name: 'usr/lib/' },
        ],
      },
      { entries: withParents('usr/lib/modules/6.1/a.ko', bench.hello) },
    ];
    expect(actions(await sign({ layers }, { files: ['/lib/modules/6.1/a.ko'] }))).toEqual({
      '/lib/modules/6.1/a.ko': 'signed',
    });
    expect(actions(await signAgain({ files: ['/lib/modules/*/a.ko'], dryRun: true }))).toEqual({
      '/usr/lib/modules/6.1/a.ko': 'signed',
    });
  });

  it('signs a file that is reached by a hard link of another name', async () => {
    const entries: TestEntry[] = [
      ...withParents('store/blob', bench.hello),
      ...withParents('m/a.ko', '', { type: 'link', linkname: 'store/blob' }),
    ];
    expect(actions(await sign({ layers: [{ entries }] }, { files: ['/m/a.ko'] }))).toEqual({
      '/m/a.ko': 'signed',
    });
    expect(await states()).toEqual({ '/m/a.ko': 'trusted' });
  });

  it('keeps what it does not know of the configuration and the manifest', async () => {
    await sign({
      layers: [{ entries: withParents('m/a.ko', bench.hello) }],
      annotations: { 'com.example.team': 'drivers' },
      config: { author: 'someone' },
    });
    const manifest = await destination.getManifest({ tag: '1.0' });
    const before = await source.getManifest({ tag: '1.0' });
    expect(manifest.annotations).toMatchObject({
      'com.example.team': 'drivers',
      'org.opencontainers.image.base.digest': before.raw.digest,
      'org.opencontainers.image.base.name': `${source.name}:1.0`,
      'io.kmm-sign.modules.signed': '1',
    });
  });

  it('gives the same bytes for the same input', async () => {
    const image = { layers: [{ entries: withParents('m/a.ko', bench.hello) }] };
    const first = await sign(image);
    const other = await signAgain({
      destination: { repository: bench.repository('elsewhere/driver'), tag: 'x' },
    });
    expect(other.digest).toBe(first.digest);
    expect(other.status).toBe('signed');
  });

  it('leaves a destination alone that holds the result', async () => {
    const image = { layers: [{ entries: withParents('m/a.ko', bench.hello) }] };
    const first = await sign(image);
    expect(await signAgain()).toMatchObject({ status: 'unchanged', digest: first.digest, bytesUp: 0 });
    expect(await signAgain({ trustAnnotations: true })).toMatchObject({ status: 'unchanged', bytesUp: 0 });
    expect(await signAgain({ hash: 'sha512' })).toMatchObject({ status: 'signed' });
    expect(await signAgain({ hash: 'sha512' })).toMatchObject({ status: 'unchanged' });
  });

  it('does not believe annotations of an image that is not signed', async () => {
    const image = { layers: [{ entries: withParents('m/a.ko', bench.hello) }] };
    const first = await sign(image);
    const { annotations } = await destination.getManifest({ tag: '1.0' });
    await storeImage(destination, { ...image, annotations: { ...annotations } }, '1.0');
    expect(await states()).toEqual({ '/m/a.ko': 'unsigned' });
    expect(await signAgain()).toMatchObject({ status: 'signed', digest: first.digest });
    expect(await states()).toEqual({ '/m/a.ko': 'trusted' });
  });

  it('writes anew what is damaged in the destination', async () => {
    const image = { layers: [{ entries: withParents('m/a.ko', bench.hello) }] };
    const first = await sign(image);
    const manifest = await destination.getManifest({ tag: '1.0' });
    if (manifest.kind !== 'image') throw new Error('no image');
    const [layer] = manifest.layers;
    const blobs = await readdir(bench.registry.storage, { recursive: true, withFileTypes: true });
    const name = layer?.digest.slice('sha256:'.length) ?? '';
    const files = blobs.filter(
      (entry) => entry.isFile() && join(entry.parentPath, entry.name).includes(name),
    );
    expect(files.length).toBeGreaterThan(0);
    await Promise.all(files.map((entry) => rm(join(entry.parentPath, entry.name))));
    expect(await signAgain()).toMatchObject({ status: 'signed', digest: first.digest });
    expect(await states()).toEqual({ '/m/a.ko': 'trusted' });
  });

  it('signs in place, and finds nothing to do the second time', async () => {
    destination = source;
    const first = await sign({ layers: [{ entries: withParents('m/a.ko', bench.hello) }] });
    expect(await signAgain()).toMatchObject({
      status: 'unchanged',
      sourceDigest: first.digest,
      digest: first.digest,
    });
  });

  it('replaces, keeps or refuses signatures of others as it is told', async () => {
    const other = await createTestKey(bench.folder, `other-${count}`);
    const image = { layers: [{ entries: withParents('m/a.ko', bench.hello) }] };
    const first = await sign(image, { signer: other.signer });
    source = destination;
    destination = bench.repository(`resigned/driver-${count}`);
    await expect(signAgain({ existing: 'fail' })).rejects.toMatchObject({ code: 'ALREADY_SIGNED' });
    expect(actions(await signAgain({ existing: 'keep' }))).toEqual({ '/m/a.ko': 'kept' });
    expect(await states()).toEqual({ '/m/a.ko': 'untrusted' });
    const replaced = await signAgain();
    expect(actions(replaced)).toEqual({ '/m/a.ko': 'replaced' });
    const signedByOther = first.platforms[0]?.modules[0]?.sizeAfter;
    expect(replaced.platforms[0]?.modules[0]?.sizeBefore).toBe(signedByOther);
    expect(await states()).toEqual({ '/m/a.ko': 'trusted' });
  });

  it('plans without writing', async () => {
    const report = await sign(
      { layers: [{ entries: withParents('m/a.ko', bench.hello) }] },
      { dryRun: true },
    );
    expect(report).toMatchObject({ status: 'planned', digest: null, bytesUp: 0 });
    await expect(destination.resolve({ tag: '1.0' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('reads back what it pushed when asked to', async () => {
    const image = { layers: [{ entries: withParents('m/a.ko', bench.hello) }] };
    const plain = await sign(image);
    destination = bench.repository(`read-back/driver-${count}`);
    const report = await signAgain({ readBack: true });
    const manifest = await destination.getManifest({ tag: '1.0' });
    const [layer] = manifest.kind === 'image' ? manifest.layers : [];
    expect(report.bytesDown).toBe(plain.bytesDown + (layer?.size ?? 0));
  });
});

describe('signImage leaves the destination as it was', () => {
  const text = 'something else';
  it.each([
    ['a pattern that matches nothing', { files: ['/m/none.ko'] }, 'FILE_NOT_IN_IMAGE'],
    ['a glob that matches nothing', { files: ['/m/x*.ko'] }, 'FILE_NOT_IN_IMAGE'],
    ['a file that is no module', { files: ['/m/text'] }, 'NOT_A_MODULE'],
    ['a directory', { files: ['/m'] }, 'NOT_A_MODULE'],
    ['a module by name only', { files: ['/bad/text.ko'] }, 'NOT_A_MODULE'],
    ['a module that is cut short', { files: ['/bad/cut.ko'] }, 'DAMAGED_MODULE'],
    ['a signature trailer that lies', { files: ['/bad/trailer.ko'] }, 'DAMAGED_MODULE'],
    [
      'a platform that is not there',
      { platforms: [{ os: 'linux', architecture: 's390x' }] },
      'PLATFORM_NOT_FOUND',
    ],
  ] as const)('after %s', async (_, options, code) => {
    const { hello } = bench;
    const before = await storeImage(
      destination,
      { layers: [{ entries: [{ name: 'x', content: text }] }] },
      '1.0',
    );
    const trailer = Buffer.concat([
      hello,
      Buffer.alloc(12, 0xff),
      Buffer.from('~Module signature appended~\n'),
    ]);
    const image = {
      layers: [
        {
          entries: [
            ...withParents('m/a.ko', hello),
            { name: 'm/text', content: text },
            ...withParents('bad/text.ko', text),
            { name: 'bad/cut.ko', content: hello.subarray(0, 3000) },
            { name: 'bad/trailer.ko', content: trailer },
          ],
        },
      ],
    };
    await expect(sign(image, options)).rejects.toMatchObject({ code });
    expect(await destination.resolve({ tag: '1.0' })).toMatchObject({ digest: before.digest });
  });

  it('and leaves nothing in the temporary directory', async () => {
    const temporaryDirectory = join(bench.folder, `tmp-${count}`);
    await mkdir(temporaryDirectory);
    await sign({ layers: [{ entries: withParents('m/a.ko', bench.hello) }] }, { temporaryDirectory });
    await expect(signAgain({ files: ['/none.ko'], temporaryDirectory })).rejects.toThrow('/none.ko');
    expect(await readdir(temporaryDirectory)).toEqual([]);
  });
});
