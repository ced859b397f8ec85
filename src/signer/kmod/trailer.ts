import { SignerError, damagedModule } from '../model/errors.ts';
import type { ByteSource } from '../../shared/byte-source.ts';
import type { ModuleLayout } from '../model/module.ts';

/** What the kernel looks for at the end of a module (include/linux/module_signature.h). */
const magic = Buffer.from('~Module signature appended~\n', 'latin1');
const structLength = 12;
const trailerLength = structLength + magic.length;
/** Identifier types: CMS, and the two that kernels before 4.3 accepted. */
const idType = { pgp: 0, x509: 1, pkcs7: 2 } as const;
/** Enough for the trailer and an RSA signature with a long issuer, so that one read suffices. */
const tailLength = 4096;
/** A module that a careless pipeline signs on every build does not come near this. */
const maxSignatures = 100;
/** A CMS with a certificate chain takes a few kilobytes. */
const maxSignatureLength = 256 * 1024;
/** A tag and a length of up to four octets. */
const maxHeaderLength = 6;

/** Encodes the struct and the magic that follow a CMS of the given length. */
export function encodeTrailer(signatureLength: number): Buffer {
  const struct = Buffer.alloc(structLength);
  struct[2] = idType.pkcs7;
  struct.writeUInt32BE(signatureLength, 8);
  return Buffer.concat([struct, magic]);
}

/** A module's layout and the bytes of its last signature. */
export interface SignedLayout {
  readonly layout: ModuleLayout;
  /**
   * The last signature according to the trailer, the only one that counts: a CMS, and perhaps bytes after it;
   * null if unsigned.
   */
  readonly signature: Buffer | null;
  /** The type of a signature that only kernels before 4.3 accepted; null for a CMS. */
  readonly oldType: 'PGP' | 'X.509' | null;
}

interface Trailer {
  readonly start: number;
  readonly type: number;
  readonly signatureStart: number;
  readonly signatureLength: number;
}

/** Finds where a module ends and its signatures begin. @throws SignerError DAMAGED_MODULE */
export async function readModuleLayout(source: ByteSource): Promise<ModuleLayout> {
  return (await readSignedLayout(source)).layout;
}

/**
 * Finds the layout and the last signature, the only one that the kernel reads. Unreadable earlier signatures
 * are not damage, but they cannot be removed. @throws SignerError DAMAGED_MODULE
 */
export async function readSignedLayout(source: ByteSource): Promise<SignedLayout> {
  const last = await readTrailer(source, source.size);
  if (last === null) {
    const layout = { contentSize: source.size, signedSize: source.size, signatures: 0, unremovable: null };
    return { layout, oldType: null, signature: null };
  }
  const layout = { signedSize: last.start, ...(await readEarlier(source, last)) };
  const oldType = last.type === idType.pkcs7 ? null : last.type === idType.pgp ? 'PGP' : 'X.509';
  return { layout, oldType, signature: await source.read(last.signatureStart, last.signatureLength) };
}

async function readEarlier(
  source: ByteSource,
  last: Trailer,
): Promise<Pick<ModuleLayout, 'contentSize' | 'signatures' | 'unremovable'>> {
  let contentSize = last.start;
  for (let signatures = 1; ; signatures += 1) {
    const unremovable = (what: string) => ({ contentSize, signatures, unremovable: what });
    if (signatures > maxSignatures) return unremovable(`more than ${maxSignatures} signatures are appended`);
    try {
      const found = await readTrailer(source, contentSize);
      if (found === null) return { contentSize, signatures, unremovable: null };
      contentSize = found.start;
    } catch (error) {
      if (!(error instanceof SignerError)) throw error;
      return unremovable('an earlier signature in it cannot be read');
    }
  }
}

async function readTrailer(source: ByteSource, end: number): Promise<Trailer | null> {
  const tailStart = Math.max(0, end - tailLength);
  const tail = await source.read(tailStart, end - tailStart);
  if (tail.length < magic.length || !tail.subarray(-magic.length).equals(magic)) return null;
  if (tail.length < trailerLength) throw damagedModule('the signature trailer is cut short');
  const { type, names, signatureLength } = readStruct(tail.subarray(-trailerLength, -magic.length));
  const signatureStart = end - trailerLength - signatureLength;
  const start = signatureStart - names;
  if (signatureLength > maxSignatureLength || start <= 0)
    throw damagedModule('the signature trailer states an impossible length');
  const head =
    signatureStart >= tailStart
      ? tail.subarray(signatureStart - tailStart)
      : await source.read(signatureStart, maxHeaderLength);
  if (type === idType.pkcs7) checkSignatureStart(head.subarray(0, signatureLength), signatureLength);
  return { start, type, signatureStart, signatureLength };
}

/**
 * Reads struct module_signature. For PKCS #7, everything but the type and the length is zero; the older types
 * also give the lengths of the signer's name and of the key identifier, which precede the signature.
 */
function readStruct(struct: Buffer): { type: number; names: number; signatureLength: number } {
  const [algorithm, hash, type = 0, signerLength = 0, keyIdLength = 0, ...padding] = struct.subarray(0, 8);
  const signatureLength = struct.readUInt32BE(8);
  if (type === idType.pgp || type === idType.x509)
    return { type, names: signerLength + keyIdLength, signatureLength };
  if (type !== idType.pkcs7) throw damagedModule('the signature trailer is of an unknown type');
  if ([algorithm, hash, signerLength, keyIdLength, ...padding].some((octet) => octet !== 0))
    throw damagedModule('the signature trailer has a value where zero is required');
  return { type, names: 0, signatureLength };
}

/** Requires the start of a plausible CMS, because a wrong length would cut the module in the wrong place. */
function checkSignatureStart(head: Buffer, length: number): void {
  const [tag = 0, first = 0] = head;
  const octets = first > 0x80 ? first - 0x80 : 0;
  const isPlausible = (tag | 0x20) === 0x30 && octets <= 4 && head.length >= 2 + octets;
  const contentLength = octets === 0 ? first : isPlausible ? head.readUIntBE(2, octets) : 0;
  const isIndefinite = first === 0x80;
  if (isPlausible && (isIndefinite || 2 + octets + contentLength <= length)) return;
  throw damagedModule('the appended signature is not a CMS of the length that its trailer states');
}
