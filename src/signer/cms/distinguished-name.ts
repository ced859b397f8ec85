import { printable } from '../../shared/printable.ts';
import { DerError, type DerElement, DerSequence, derTag, readDer, readObjectIdentifier } from './der.ts';

/** Short names of RFC 4519 and PKCS #9. */
const names = new Map<string, string>([
  ['2.5.4.3', 'CN'],
  ['2.5.4.5', 'serialNumber'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
  ['2.5.4.10', 'O'],
  ['2.5.4.11', 'OU'],
  ['0.9.2342.19200300.100.1.25', 'DC'],
  ['1.2.840.113549.1.9.1', 'emailAddress'],
]);
const bmpString = 0x1e;

/** Formats a DER Name as `O=Acme, CN=signing`, in the order of the encoding. @throws DerError */
export function formatDistinguishedName(name: Buffer): string {
  return new DerSequence(readDer(name))
    .takeRest()
    .map((set) =>
      new DerSequence(set, derTag.set)
        .takeRest()
        .map((element) => formatAttribute(new DerSequence(element)))
        .join(' + '),
    )
    .join(', ');
}

function formatAttribute(attribute: DerSequence): string {
  const type = readObjectIdentifier(attribute.takeAny());
  const value = decode(attribute.takeAny());
  attribute.end();
  return `${names.get(type) ?? type}=${value}`;
}

function decode({ tag, content }: DerElement): string {
  if ((tag & 0x20) !== 0) throw new DerError('a name whose value is not a string');
  if (tag !== bmpString) return printable(content.toString(tag === derTag.utf8String ? 'utf8' : 'latin1'));
  if (content.length % 2 !== 0) throw new DerError('a string that is cut short');
  return printable(Buffer.from(content).swap16().toString('utf16le'));
}
