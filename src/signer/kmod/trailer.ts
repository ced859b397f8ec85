import { DerError, readDerHeader } from '../cms/der.ts';
import type { ByteSource } from './byte-source.ts';
import { damagedModule } from './module-errors.ts';
import type { ModuleLayout } from './module.ts';

/** What the kernel looks for at the end of a module (include/linux/module_signature.h). */
const magic = Buffer.from('~Module signature appended~\n', 'latin1');
const structLength = 12;
const trailerLength = structLength + magic.length;
/** PKEY_ID_PKCS7, the one identifier type in use. */
const idTypePkcs7 = 2;
/** Enough for the trailer and an RSA signature with a long issuer, so that one read does. */
const tailLength = 4096;
/** A module that was signed on every build by a careless pipeline does not get near this. */
const maxSignatures = 100;
/** A CMS with a certificate chain is some kilobytes. */
const maxSignatureLength = 256 * 1024;

/** The struct and the magic that follow a CMS of the given length. */
export function encodeTrailer(signatureLength: number): Buffer {
  const struct = Buffer.alloc(structLength);
  struct[2] = idTypePkcs7;
  struct.writeUInt32BE(signatureLength, 8);
  return Buffer.concat([struct, magic]);
}

/** A module's layout with the bytes of its last signature. */
export interface SignedLayout {
  readonly layout: ModuleLayout;
  /** DER of the last signature, the one that counts; null when unsigned. */
  readonly signature: Buffer | null;
}

/** Finds where a module ends and its signatures begin. @throws SignerError DAMAGED_MODULE */
export async function readModuleLayout(source: ByteSource): Promise<ModuleLayout> {
  return (await readSignedLayout(source)).layout;
}

/** Finds the layout and the last signature. @throws SignerError DAMAGED_MODULE */
export async function readSignedLayout(source: ByteSource): Promise<SignedLayout> {
  let end = source.size;
  let last: { signature: Buffer; start: number } | undefined;
  let signatures = 0;
  for (;;) {
    const found = await readLastSignature(source, end);
    if (found === null) break;
    signatures += 1;
    if (signatures > maxSignatures) throw damagedModule(`more than ${maxSignatures} signatures are appended`);
    last ??= found;
    end = found.start;
  }
  return {
    layout: { contentSize: end, signedSize: last?.start ?? source.size, signatures },
    signature: last?.signature ?? null,
  };
}

async function readLastSignature(
  source: ByteSource,
  end: number,
): Promise<{ signature: Buffer; start: number } | null> {
  const tailStart = Math.max(0, end - tailLength);
  const tail = await source.read(tailStart, end - tailStart);
  if (tail.length < magic.length || !tail.subarray(-magic.length).equals(magic)) return null;
  if (tail.length < trailerLength) throw damagedModule('the signature trailer is cut short');
  const length = readStruct(tail.subarray(-trailerLength, -magic.length));
  const start = end - trailerLength - length;
  if (length > maxSignatureLength || start < 0)
    throw damagedModule('the signature trailer gives an impossible length');
  const signature =
    start >= tailStart
      ? tail.subarray(start - tailStart, start - tailStart + length)
      : await source.read(start, length);
  checkSignatureLength(signature);
  return { signature, start };
}

/** Reads struct module_signature: for PKCS #7 everything but the type and the length is zero. */
function readStruct(struct: Buffer): number {
  if (struct[2] !== idTypePkcs7) throw damagedModule('the signature trailer is not of the PKCS #7 type');
  if (struct.subarray(0, 8).some((octet, position) => position !== 2 && octet !== 0)) {
    throw damagedModule('the signature trailer has a value where there must be none');
  }
  return struct.readUInt32BE(8);
}

/** A wrong length would cut the module at the wrong place, so it must be that of the CMS itself. */
function checkSignatureLength(signature: Buffer): void {
  try {
    const { tag, headerLength, contentLength } = readDerHeader(signature);
    if (tag === 0x30 && headerLength + contentLength === signature.length) return;
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
  }
  throw damagedModule('the appended signature is not a CMS of the length that its trailer gives');
}
