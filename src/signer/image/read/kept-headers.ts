import { RegistryError } from '../../../registry/model/errors.ts';
import type { TarEntryHeader } from '../../../registry/tar/entry.ts';
import { extendedAttributeName } from '../../../registry/tar/pax.ts';

/** Bytes of PAX records of one entry that are kept: Linux allows 64 KiB for the values of an attribute. */
const maxEntryBytes = 256 * 1024;

/** Bytes of all headers that are kept. */
const maxBytes = 32 * 1024 ** 2;

/** Bytes of a header without its PAX records, about. */
const plainHeaderBytes = 400;

/** Keeps headers of entries that may have to be written anew: extended attributes and time, and no more than some megabytes. */
export class KeptHeaders {
  #bytes = 0;

  /** The header as far as it is needed later. @throws RegistryError LIMIT_EXCEEDED */
  keep(header: TarEntryHeader): TarEntryHeader {
    const records = header.pax
      .entries()
      .filter(([key]) => key === 'mtime' || extendedAttributeName(key) !== undefined)
      .toArray();
    const bytes = records.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    this.#bytes += plainHeaderBytes + bytes;
    if (bytes > maxEntryBytes) {
      const where = JSON.stringify(header.path.slice(0, 300));
      throw exceeded(`${where} has extended attributes of more than ${maxEntryBytes} bytes`, header.path);
    }
    if (this.#bytes > maxBytes)
      throw exceeded(
        `The headers of what may be modules or their directories have more than ${maxBytes} bytes`,
      );
    return { ...withoutContent(header), pax: new Map(records) };
  }
}

/** The header without its PAX records. */
export function plainHeader(header: TarEntryHeader): TarEntryHeader {
  return { ...withoutContent(header), pax: new Map<string, Buffer>() };
}

/** An entry that is being read holds on to the chunk in memory. */
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
