import { decodeText } from './fields.ts';
import { extendedAttributePrefix } from './pax.ts';

/** Prefix of the PAX keys in which libarchive stores extended attributes: the name percent-encoded, the value in base64. */
const libarchivePrefix = 'LIBARCHIVE.xattr.';

/**
 * Attributes that overlayfs obeys in a layer's directory (Documentation/filesystems/overlayfs.rst): redirect, opaque,
 * metacopy, whiteout and others. With them a container sees another file than the one that the archive shows.
 */
const overlayPrefixes = ['trusted.overlay.', 'user.overlay.'];

/** The name of the extended attribute that a PAX key stands for; undefined when it is none. */
export function extendedAttributeName(key: string): string | undefined {
  if (key.startsWith(extendedAttributePrefix)) return key.slice(extendedAttributePrefix.length);
  if (!key.startsWith(libarchivePrefix)) return undefined;
  return decodePercent(key.slice(libarchivePrefix.length));
}

/** The first attribute among PAX records that overlayfs would obey. */
export function findOverlayAttribute(pax: ReadonlyMap<string, Buffer>): string | undefined {
  for (const key of pax.keys()) {
    const name = extendedAttributeName(key);
    if (name !== undefined && overlayPrefixes.some((prefix) => name.startsWith(prefix))) return name;
  }
  return undefined;
}

/**
 * Attributes that hold a digest or signature of the content (security/integrity in the kernel): with new content they are
 * wrong, and where they are appraised they block the file.
 */
const contentAttributes: ReadonlySet<string> = new Set(['security.ima', 'security.evm']);

/** Whether a PAX record holds an attribute that is wrong once the content has changed. */
export function isContentAttribute(key: string): boolean {
  return contentAttributes.has(extendedAttributeName(key) ?? '');
}

/** The names of the attributes among PAX records that are wrong once the content has changed, without repetition. */
export function contentAttributesOf(pax: ReadonlyMap<string, Buffer>): string[] {
  const names = pax
    .keys()
    .filter(isContentAttribute)
    .map((key) => extendedAttributeName(key) ?? key);
  return [...new Set(names)].toSorted();
}

/** Decodes %XX; what is no such escape stays, as in libarchive. */
function decodePercent(text: string): string {
  if (!text.includes('%')) return text;
  const bytes = Buffer.from(text, 'utf8')
    .toString('latin1')
    .replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return decodeText(Buffer.from(bytes, 'latin1'));
}
