import { generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { der, derObjectIdentifier, derTag } from '../cms/der.ts';
import {
  encodeCertificate,
  extensionIdentifier,
  type CertificateExtension,
} from '../cms/encode-certificate.ts';

export interface SelfSignedOptions {
  /** Common name of subject and issuer. */
  readonly commonName: string;
  /** Organization of subject and issuer. */
  readonly organization?: string | undefined;
  /** Length of the RSA modulus in bits. */
  readonly bits: number;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface SelfSigned {
  readonly privateKey: KeyObject;
  /** DER. */
  readonly certificate: Buffer;
}

const codeSigning = '1.3.6.1.5.5.7.3.3';
/** Tells shim that the key is for kernel modules only, so it cannot boot anything. */
const moduleSigningOnly = '1.3.6.1.4.1.2312.16.1.2';

const extensions: readonly CertificateExtension[] = [
  // CA:FALSE is the default, and DER omits defaults.
  { identifier: extensionIdentifier.basicConstraints, critical: true, value: der(derTag.sequence) },
  {
    identifier: extensionIdentifier.keyUsage,
    critical: true,
    value: der(derTag.bitString, Buffer.from([7, 0x80])),
  },
  {
    identifier: extensionIdentifier.extendedKeyUsage,
    value: der(derTag.sequence, derObjectIdentifier(codeSigning), derObjectIdentifier(moduleSigningOnly)),
  },
];

/** Generates an RSA key and a certificate for it that is suitable as a Machine Owner Key (RFC 5280). */
export async function createSelfSigned(options: SelfSignedOptions): Promise<SelfSigned> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: options.bits });
  const { commonName, organization, notBefore, notAfter } = options;
  const name = { commonName, organization };
  const certificate = encodeCertificate(
    { subject: name, issuer: name, subjectKey: privateKey, notBefore, notAfter, extensions },
    privateKey,
  );
  return { privateKey, certificate };
}
