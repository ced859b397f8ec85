import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { finished, runProgram, startProgram } from '../../cli/run-program.ts';
import { describeContent, mediaType, pushBlob, pushManifest } from '../../support/distribution-client.ts';

// The folder that `kmm-sign registry --root` gets may be anybody's.

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-root-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const commandLine = (root: string): string[] => [
  'registry',
  '--root',
  root,
  '--listen',
  '127.0.0.1:0',
  '--format',
  'json',
];

interface Serving {
  readonly url: string;
  stop(signal: NodeJS.Signals): Promise<number | null>;
}

/** Starts the program and waits until it serves. */
async function serve(root: string): Promise<Serving> {
  const child = startProgram(commandLine(root));
  const ended = finished(child);
  const first = await Promise.race([
    once(child.stdout ?? child, 'data') as Promise<[Buffer]>,
    ended.then(({ stderr }) => Promise.reject(new Error(stderr))),
  ]);
  const { url } = JSON.parse(first.toString()) as { url: string };
  return {
    url,
    stop: async (signal) => {
      child.kill(signal);
      return (await ended).exitCode;
    },
  };
}

/** Every path below a folder with its content. */
async function contentOf(root: string): Promise<unknown> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const read = files.map(async ({ parentPath, name }) => {
    const path = join(parentPath, name);
    return [path, await readFile(path, 'utf8')];
  });
  return [entries.map(({ parentPath, name }) => join(parentPath, name)).toSorted(), await Promise.all(read)];
}

async function write(root: string, path: string, content = 'precious'): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}

async function readTag(url: string): Promise<unknown> {
  return (await fetch(`${url}/v2/vendor/a-driver/manifests/v1.0_x`)).json();
}

const uuid = '0b0c26a4-5c08-4b6b-9b8f-0a5b8f0a5b8f';
const hex = 'ab'.repeat(32);

describe("somebody's folder", () => {
  test.each([
    ['with a folder named uploads', ['uploads/beach.jpg'], 'uploads'],
    ['with one file', ['notes.txt'], 'notes.txt'],
    ['with a hidden file', ['.config'], '.config'],
    ['with the names of ours', ['uploads/beach.jpg', 'blobs/x', 'repositories/y'], 'blobs/x'],
    ['with a file among uploads', [`uploads/${uuid}`, 'uploads/beach.jpg'], 'uploads/beach.jpg'],
    ['with a folder among uploads', [`uploads/2024/${uuid}`], `uploads/2024/${uuid}`],
    ['with a file among blobs', ['blobs/sha256/abc'], 'blobs/sha256/abc'],
    ['with a hash of another length', [`blobs/sha512/${hex}`], `blobs/sha512/${hex}`],
    ['with a file in a repository', ['repositories/a/README.md'], 'repositories/a/README.md'],
    ['with a repository of another name', [`repositories/A/_tags/1`], 'repositories/A/_tags/1'],
    ['with a tag that cannot be', ['repositories/a/_tags/.x'], 'repositories/a/_tags/.x'],
    ['with another kind of list', ['repositories/a/_layers/1'], 'repositories/a/_layers/1'],
    ['with a file besides', ['htpasswd'], 'htpasswd'],
  ])('%s is refused and stays as it is', async (title, files, named) => {
    const root = join(folder, title.replaceAll(' ', '-'));
    if (title !== 'with a folder named uploads' && title !== 'with one file') {
      for (const name of ['uploads', 'blobs', 'repositories']) {
        await mkdir(join(root, name), { recursive: true });
      }
    }
    for (const file of files) await write(root, file);
    const before = await contentOf(root);
    const { exitCode, stderr } = await runProgram(commandLine(root));
    expect([exitCode, JSON.parse(stderr)]).toMatchObject([
      2,
      {
        error: {
          code: 'INVALID_CONFIGURATION',
          message: `${root} is not the directory of a registry: it contains ${named}`,
          hint: 'Name a directory that is empty or does not exist yet, or one that kmm-sign registry has used before.',
          facts: { path: root },
        },
      },
    ]);
    expect(await contentOf(root)).toEqual(before);
  });

  test('that links to other places is refused', async () => {
    const root = join(folder, 'links');
    const photos = join(folder, 'photos');
    await mkdir(photos);
    await write(photos, uuid);
    await mkdir(join(root, 'blobs'), { recursive: true });
    await mkdir(join(root, 'repositories'));
    await symlink(photos, join(root, 'uploads'));
    expect(await runProgram(commandLine(root))).toMatchObject({ exitCode: 2 });
    expect(await readdir(photos)).toEqual([uuid]);
  });

  test('of a later version is refused', async () => {
    const root = join(folder, 'later');
    await write(root, 'kmm-sign-registry.json', '{"format":"kmm-sign registry","version":2}');
    const { exitCode, stderr } = await runProgram(commandLine(root));
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('belongs to another version')]);
    expect(await readdir(root)).toEqual(['kmm-sign-registry.json']);
  });
});

describe('the folder of a registry', () => {
  const document = {
    schemaVersion: 2,
    mediaType: mediaType.manifest,
    config: describeContent(mediaType.config, '{}'),
    layers: [],
    subject: describeContent(mediaType.manifest, 'elsewhere'),
  };

  async function store(url: string): Promise<void> {
    await pushBlob(`${url}/v2/vendor/a-driver`, '{}');
    await pushManifest(`${url}/v2/vendor/a-driver`, {
      reference: 'v1.0_x',
      type: mediaType.manifest,
      document,
    });
  }

  test('may be the root of a new file system', async () => {
    const root = join(folder, 'volume');
    await mkdir(join(root, 'lost+found'), { recursive: true });
    const serving = await serve(root);
    expect(await serving.stop('SIGTERM')).toBe(0);
    expect(await readdir(root)).toContain('lost+found');
  });

  test('that was made before folders were marked is adopted, without its uploads', async () => {
    const made = join(folder, 'made');
    const first = await serve(made);
    await store(first.url);
    await first.stop('SIGTERM');
    const root = join(folder, 'adopted');
    for (const name of ['uploads', 'blobs', 'repositories']) {
      await cp(join(made, name), join(root, name), { recursive: true });
    }
    await write(root, `uploads/${uuid}`);
    const second = await serve(root);
    expect(await readTag(second.url)).toEqual(document);
    expect(await readdir(join(root, 'uploads'))).toEqual([]);
    expect(await readdir(root)).toContain('kmm-sign-registry.json');
    await second.stop('SIGTERM');
  });

  test('keeps what is not ours among the uploads', async () => {
    const root = join(folder, 'kept');
    await (await serve(root)).stop('SIGTERM');
    await write(root, 'uploads/beach.jpg');
    await write(root, `uploads/2024/${uuid}`);
    await write(root, `uploads/${uuid}`);
    await (await serve(root)).stop('SIGTERM');
    expect((await readdir(join(root, 'uploads'), { recursive: true })).toSorted()).toEqual([
      '2024',
      `2024/${uuid}`,
      'beach.jpg',
    ]);
  });

  test('is used by one process at a time, and by the next as soon as that one is killed', async () => {
    const root = join(folder, 'shared');
    const first = await serve(root);
    const started = await fetch(`${first.url}/v2/vendor/a-driver/blobs/uploads/`, { method: 'POST' });
    const location = new URL(started.headers.get('location') ?? '', first.url);
    await fetch(location, { method: 'PATCH', body: 'half' });
    expect(await readdir(join(root, 'uploads'))).toHaveLength(1);
    const { exitCode, stderr } = await runProgram(commandLine(root));
    expect([exitCode, JSON.parse(stderr)]).toMatchObject([
      1,
      { error: { code: 'IN_USE', message: `Another registry is using ${root}`, facts: { path: root } } },
    ]);
    expect(await readdir(join(root, 'uploads'))).toHaveLength(1);
    await store(first.url);
    expect(await first.stop('SIGKILL')).toBeNull();
    const second = await serve(root);
    expect(await readTag(second.url)).toEqual(document);
    expect(await second.stop('SIGTERM')).toBe(0);
  });
});
