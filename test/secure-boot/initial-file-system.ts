import { gzipSync } from 'node:zlib';

/** A file of the guest's root. */
export interface GuestFile {
  /** Without a leading slash; the folders above it are made. */
  readonly path: string;
  readonly contents: Buffer;
  readonly mode: number;
}

const directoryType = 0o040000;
const regularType = 0o100000;

/** Packs files as a gzip-compressed cpio archive in the format `newc`, which the kernel unpacks at boot. */
export function initialFileSystem(files: readonly GuestFile[]): Buffer {
  const folders = new Set(files.flatMap(({ path }) => foldersAbove(path)));
  const entries = [
    ...[...folders].toSorted().map((path) => entry(path, directoryType | 0o755, Buffer.alloc(0))),
    ...files.map(({ path, mode, contents }) => entry(path, regularType | mode, contents)),
    entry('TRAILER!!!', 0, Buffer.alloc(0)),
  ];
  return gzipSync(Buffer.concat(entries), { level: 1 });
}

function foldersAbove(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
}

function entry(path: string, mode: number, contents: Buffer): Buffer {
  const name = Buffer.from(`${path}\0`);
  const fields = [0, mode, 0, 0, 1, 0, contents.length, 0, 0, 0, 0, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), name])), padded(contents)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
