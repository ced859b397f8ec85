import { redactTokens } from './redact-tokens.ts';

/** Characters of a server's own words that are repeated. */
const maxLength = 300;

/** A server's words made fit for messages: short, without control characters, without tokens. */
export function printable(text: string): string {
  const plain = redactTokens(text)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim();
  return plain.length > maxLength ? `${plain.slice(0, maxLength)}…` : plain;
}
