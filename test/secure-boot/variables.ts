/** UEFI variables in the non-volatile store of OVMF (UEFI specification 2.10, sections 8.2 and 32.4). */

const shimVendor = '605dab50-e046-4300-abb6-3dd810dd8b23';
const certificateType = 'a5c059a1-94e4-4aa7-87b5-ab155c2bf072';
const owner = '6b6d6d73-6967-4e00-8000-000000000001';
const nonVolatileBootService = 0x3;
const startId = 0x55aa;
const stateAdded = 0x3f;
const headerLength = 60;
const storeHeaderLength = 28;

/** Gives a copy of the variable store in which the certificates (DER) are enrolled as Machine Owner Keys. */
export function enrolMachineOwnerKeys(store: Buffer, certificates: readonly Buffer[]): Buffer {
  if (certificates.length === 0) return Buffer.from(store);
  return appendVariable(store, 'MokList', Buffer.concat(certificates.map(signatureList)));
}

/** EFI_SIGNATURE_LIST with one certificate. */
function signatureList(certificate: Buffer): Buffer {
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32LE(16 + 12 + 16 + certificate.length, 0);
  sizes.writeUInt32LE(16 + certificate.length, 8);
  return Buffer.concat([guid(certificateType), sizes, guid(owner), certificate]);
}

function appendVariable(store: Buffer, name: string, value: Buffer): Buffer {
  const volumeHeaderLength = store.readUInt16LE(48);
  const storeStart = volumeHeaderLength;
  const storeEnd = storeStart + store.readUInt32LE(storeStart + 16);
  let at = storeStart + storeHeaderLength;
  while (store.readUInt16LE(at) === startId) {
    at += headerLength + store.readUInt32LE(at + 36) + store.readUInt32LE(at + 40);
    at = (at + 3) & ~3;
  }
  const nameBytes = Buffer.from(`${name}\0`, 'utf16le');
  const header = Buffer.alloc(headerLength);
  header.writeUInt16LE(startId, 0);
  header[2] = stateAdded;
  header.writeUInt32LE(nonVolatileBootService, 4);
  header.writeUInt32LE(nameBytes.length, 36);
  header.writeUInt32LE(value.length, 40);
  guid(shimVendor).copy(header, 44);
  const variable = Buffer.concat([header, nameBytes, value]);
  if (at + variable.length > storeEnd) throw new Error('The variable store is full');
  const result = Buffer.from(store);
  variable.copy(result, at);
  return result;
}

/** A GUID's bytes: the first three groups are little-endian. */
function guid(text: string): Buffer {
  const [first = '', second = '', third = '', ...rest] = text.split('-');
  const swapped = [first, second, third].map((group) =>
    Buffer.from([...Buffer.from(group, 'hex')].toReversed()),
  );
  return Buffer.concat([...swapped, Buffer.from(rest.join(''), 'hex')]);
}
