/** Characters of a server's own text that are quoted. */
const maxLength = 300;

/** Makes a server's text fit for messages: short, without control characters or tokens. */
export function printable(text: string): string {
  const plain = redactTokens(text)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
  return plain.length > maxLength ? `${plain.slice(0, maxLength)}…` : plain;
}

/** Matches what looks like a credential. */
const secretLike = /\b(?:Bearer|Basic)\s+\S+|\bey[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/gi;

/**
 * Removes tokens from third-party text: a server may echo what it was sent, a program may print what it was
 * given.
 */
export function redactTokens(text: string): string {
  return text.replaceAll(secretLike, '[redacted]');
}
