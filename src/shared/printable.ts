/** Characters of a server's own words that are repeated. */
const maxLength = 300;

/** A server's words made fit for messages: short, without control characters, without tokens. */
export function printable(text: string): string {
  const plain = redactTokens(text)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
  return plain.length > maxLength ? `${plain.slice(0, maxLength)}…` : plain;
}

/** What looks like something to log in with. */
const secretLike = /\b(?:Bearer|Basic)\s+\S+|\bey[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/gi;

/** Others' words without tokens: a server may send back what it was sent, a program may print what it was given. */
export function redactTokens(text: string): string {
  return text.replaceAll(secretLike, '[redacted]');
}
