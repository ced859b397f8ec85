/** Characters of a server's own words that are repeated. */
const maxLength = 300;

/** What looks like something to log in with: a server may send back what it was sent. */
const secretLike = /\b(?:Bearer|Basic)\s+\S+|\bey[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/gi;

/** A server's words made fit for messages: short, without control characters, without tokens. */
export function printable(text: string): string {
  const plain = text
    .replaceAll(secretLike, '[redacted]')
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
  return plain.length > maxLength ? `${plain.slice(0, maxLength)}…` : plain;
}
