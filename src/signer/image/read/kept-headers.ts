import { RegistryError } from '../../../registry/model/errors.ts';
import type { TarEntryHeader } from '../../../registry/tar/entry.ts';
import { extendedAttributeName } from '../../../registry/tar/pax.ts';

/** Limit on the bytes of one entry's PAX records: Linux allows 64 KiB for the values of an attribute. */
const maxEntryBytes = 256 * 1024;

/** Limit on the bytes of all headers. */
const maxBytes = 32 * 1024 ** 2;

/** Approximate bytes of a header without its PAX records. */
const plainHeaderBytes = 400;

/** Keeps headers of entries that may be rewritten: extended attributes and time, a few megabytes at most. */
export class KeptHeaders {
  #bytes = 0;

  /** Returns the parts of a header that are needed later. @throws RegistryError LIMIT_EXCEEDED */
  keep(header: TarEntryHeader): TarEntryHeader {
    const records = header.pax
      .entries()
      .filter(([key]) => key === 'mtime' || extendedAttributeName(key) !== undefined)
      .toArray();
    const bytes = records.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    this.#bytes += plainHeaderBytes + bytes;
    if (bytes > maxEntryBytes) {
      const where = JSON.stringify(header.path.slice(0, 300));
      throw exceeded(`${where} has more than ${maxEntryBytes} bytes of extended attributes`, header.path);
    }
    if (this.#bytes > maxBytes)
      throw exceeded(
        `The headers of possible modules and their directories have more than ${maxBytes} bytes`,
      );
    return { ...withoutContent(header), pax: new Map(records) };
  }
}

/** Returns the header without its PAX records. */
export function plainHeader(header: TarEntryHeader): TarEntryHeader {
  return { ...withoutContent(header), pax: new Map<string, Buffer>() };
}

/** Copies the header, because an entry that is being read keeps its chunk in memory. */
function withoutContent(header: TarEntryHeader): TarEntryHeader {
  const { index, name, path, type, size, linkName, mode, uid, gid, userName, groupName, mtime } = header;
  const { deviceMajor, deviceMinor, pax } = header;
  return Object.assign(
    { index, name, path, type, size, linkName, mode, uid, gid, userName, groupName, mtime },
    { deviceMajor, deviceMinor, pax },
  );
}

function exceeded(message: string, path?: string): RegistryError {
  return new RegistryError({ code: 'LIMIT_EXCEEDED', message, facts: { path, maxEntryBytes, maxBytes } });
}
