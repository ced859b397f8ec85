import { derTag } from '../cms/der.ts';

const base64 = /^[A-Za-z0-9+/_\s-]+={0,2}\s*$/;
const lineEnd = /(?:\\r)?\\n/g;

/**
 * Returns the DER or PEM in what people store: variables, files and Secrets hold it in base64 at times, and PEM
 * with the two characters `\n` in place of line ends. What is neither stays as it is.
 */
export function decodeStored(bytes: Buffer): Buffer {
  if (bytes[0] === derTag.sequence) return bytes;
  const text = bytes.toString('latin1').replaceAll(lineEnd, '\n');
  // A second round is for a Secret whose value was encoded by hand before Kubernetes did. Each round is shorter.
  return base64.test(text) && !text.includes('-----BEGIN')
    ? decodeStored(Buffer.from(text, 'base64'))
    : Buffer.from(text, 'latin1');
}
