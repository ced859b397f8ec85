import {
  DerError,
  type DerElement,
  DerSequence,
  derTag,
  readDer,
  readObjectIdentifier,
  readSmallInteger,
} from './der.ts';
import { hashOf, keyAlgorithmOf, oid } from './algorithms.ts';

/** How a SignerInfo names its signer, in DER as it stands there. */
export type SignerIdentifier =
  | { readonly form: 'issuer-and-serial'; readonly issuer: Buffer; readonly serialNumber: Buffer }
  | { readonly form: 'key-identifier'; readonly keyIdentifier: Buffer };

/** One signer of a SignedData. */
export interface SignerInfo {
  readonly identifier: SignerIdentifier;
  /** A HashAlgorithm, or the object identifier in dotted form. */
  readonly hash: string;
  /** `rsa`, `ecdsa`, or the object identifier. */
  readonly keyAlgorithm: string;
  /** The kernel refuses modules whose signatures have signed attributes. */
  readonly hasSignedAttributes: boolean;
  readonly signature: Buffer;
}

/** A CMS SignedData as far as module signatures are concerned. */
export interface SignedData {
  /** The signed content is inside: the kernel wants it outside. */
  readonly hasContent: boolean;
  /** DER of the certificates that came with it. */
  readonly certificates: readonly Buffer[];
  readonly signers: readonly [SignerInfo, ...SignerInfo[]];
}

/** The kernel knows no module with more; each costs a public key operation. */
const maxSigners = 32;
const maxCertificates = 64;

/** Parses a CMS SignedData (RFC 5652 section 5.1). @throws DerError when it is not well-formed */
export function parseSignedData(bytes: Buffer): SignedData {
  const contentInfo = new DerSequence(readDer(bytes));
  expectType(contentInfo.takeAny(), oid.signedData);
  const signedData = new DerSequence(only(contentInfo.take(0xa0)));
  contentInfo.end();
  const version = readSmallInteger(signedData.take(derTag.integer));
  new DerSequence(signedData.take(derTag.set), derTag.set).takeRest().forEach(algorithmOf);
  const content = new DerSequence(signedData.take(derTag.sequence));
  expectType(content.takeAny(), oid.data);
  const hasContent = content.takeIf(0xa0) !== undefined;
  content.end();
  const certificates = signedData.takeIf(0xa0);
  signedData.takeIf(0xa1);
  const infos = new DerSequence(signedData.take(derTag.set), derTag.set).takeRest();
  signedData.end();
  const embedded = certificates === undefined ? [] : new DerSequence(certificates, 0xa0).takeRest();
  if (infos.length > maxSigners || embedded.length > maxCertificates) {
    throw new DerError('too many signers or certificates');
  }
  const [first, ...rest] = infos.map((info) => parseSignerInfo(info, version));
  if (first === undefined) throw new DerError('there is no signer');
  return {
    hasContent,
    certificates: embedded.filter(({ tag }) => tag === derTag.sequence).map((one) => one.bytes),
    signers: [first, ...rest],
  };
}

function parseSignerInfo(element: DerElement, messageVersion: number): SignerInfo {
  const info = new DerSequence(element);
  const version = readSmallInteger(info.take(derTag.integer));
  const identifier = parseIdentifier(info.takeAny());
  // The kernel wants the versions to agree with each other and with the form of the identifier.
  if (version !== messageVersion || version !== (identifier.form === 'issuer-and-serial' ? 1 : 3)) {
    throw new DerError('versions that contradict each other');
  }
  const hash = algorithmOf(info.take(derTag.sequence));
  const hasSignedAttributes = info.takeIf(0xa0) !== undefined;
  const keyAlgorithm = algorithmOf(info.take(derTag.sequence));
  const signature = info.take(derTag.octetString).content;
  info.takeIf(0xa1);
  info.end();
  return {
    identifier,
    hash: hashOf(hash) ?? hash,
    keyAlgorithm: keyAlgorithmOf(keyAlgorithm) ?? keyAlgorithm,
    hasSignedAttributes,
    signature,
  };
}

function parseIdentifier(element: DerElement): SignerIdentifier {
  if (element.tag === 0x80) return { form: 'key-identifier', keyIdentifier: element.content };
  const sequence = new DerSequence(element);
  const issuer = sequence.take(derTag.sequence).bytes;
  const serialNumber = sequence.take(derTag.integer).bytes;
  sequence.end();
  return { form: 'issuer-and-serial', issuer, serialNumber };
}

function algorithmOf(element: DerElement): string {
  return readObjectIdentifier(new DerSequence(element).takeAny());
}

function expectType(element: DerElement, type: string): void {
  const found = readObjectIdentifier(element);
  if (found !== type) throw new DerError(`content of the type ${found} where ${type} should be`);
}

function only(wrapper: DerElement): DerElement {
  const inside = new DerSequence(wrapper, wrapper.tag);
  const element = inside.takeAny();
  inside.end();
  return element;
}
