/** Controls, invisible formatting such as a change of direction, and line separators. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/**
 * Escapes what could drive a terminal, hide text or add a line in text from an image, a certificate or a server:
 * `\x1b`, `\u{202e}`.
 */
export function printable(text: string): string {
  return text.replaceAll(unprintable, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code > 0xff ? `\\u{${code.toString(16)}}` : `\\x${code.toString(16).padStart(2, '0')}`;
  });
}

/** The most characters of third-party text in a message. */
const maxLength = 300;

/** Makes third-party text fit to be quoted in a message: printable, on one line, short and without tokens. */
export function excerpt(text: string): string {
  const line = printable(redactTokens(text).replaceAll(/\s+/g, ' ').trim());
  return line.length > maxLength ? `${line.slice(0, maxLength)}…` : line;
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

/** `1 module`, `2 modules`. */
export function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`;
}
