import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as z from 'zod';
import { encodeText } from '../../src/registry/tar/header.ts';
import { readTar } from '../../src/registry/tar/reader.ts';
import { updateHash } from '../../src/shared/chunks.ts';
import { inChunks } from './tar-blocks.ts';

const run = promisify(execFile);

const entrySchema = z
  .object({
    Name: z.string(),
    Link: z.string(),
    User: z.string(),
    Group: z.string(),
    Type: z.number(),
    Size: z.number(),
    Mode: z.number(),
    UID: z.number(),
    GID: z.number(),
    Seconds: z.number(),
    Nanoseconds: z.number(),
    DeviceMajor: z.number(),
    DeviceMinor: z.number(),
    PAX: z.record(z.string(), z.string()),
    SHA256: z.string(),
  })
  .transform(({ Seconds, Nanoseconds, ...rest }) => ({
    ...rest,
    Time: roundTime(Seconds + Nanoseconds / 1e9),
  }));
const listingSchema = z.object({ Entries: z.array(entrySchema), Error: z.string() });

/** An entry as Go's archive/tar sees it. */
export type GoEntry = z.infer<typeof entrySchema>;
/** An archive as Go's archive/tar sees it; `Error` is empty if it was read to its end. */
export type GoListing = z.infer<typeof listingSchema>;

/** Go's archive/tar, wrapped in a small program. */
export class GoTar implements AsyncDisposable {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async build(go: string): Promise<GoTar> {
    const directory = await mkdtemp(join(tmpdir(), 'go-tar-list-'));
    const source = join(import.meta.dirname, 'go-tar-list', 'main.go');
    await run(go, ['build', '-o', join(directory, 'list'), source], {
      env: { ...process.env, GO111MODULE: 'off', GOFLAGS: '' },
    });
    return new GoTar(directory);
  }

  async list(archives: readonly Buffer[]): Promise<GoListing[]> {
    const files = archives.map((_, index) => join(this.#directory, `${index}.tar`));
    await Promise.all(files.map((file, index) => writeFile(file, archives[index] ?? '')));
    const { stdout } = await run(join(this.#directory, 'list'), files, { maxBuffer: 1024 ** 3 });
    return stdout
      .trim()
      .split('\n')
      .map((line) => listingSchema.parse(JSON.parse(line)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

const typeFlags = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
} as const;

/** Returns the same listing from our reader. */
export async function listWithReader(archive: Buffer, chunkSize?: number): Promise<GoEntry[]> {
  const entries: GoEntry[] = [];
  for await (const entry of readTar(inChunks(archive, chunkSize), { maxEntries: 10_000 })) {
    const hash = createHash('sha256');
    for await (const chunk of entry.content()) updateHash(hash, chunk);
    entries.push({
      Name: encode(entry.name),
      Link: encode(entry.linkName),
      User: encode(entry.userName),
      Group: encode(entry.groupName),
      Type: typeFlags[entry.type].charCodeAt(0),
      Size: entry.size,
      Mode: entry.mode,
      UID: entry.uid,
      GID: entry.gid,
      Time: roundTime(entry.mtime),
      DeviceMajor: entry.deviceMajor,
      DeviceMinor: entry.deviceMinor,
      PAX: Object.fromEntries([...entry.pax].map(([key, value]) => [encode(key), value.toString('base64')])),
      SHA256: hash.digest('hex'),
    });
  }
  return entries;
}

function encode(text: string): string {
  return encodeText(text).toString('base64');
}

/** Rounds to 0.1 ms: floating-point numbers lose anything beyond. */
function roundTime(seconds: number): string {
  return seconds.toFixed(4);
}
