/** What looks like something to log in with. */
const secretLike = /\b(?:Bearer|Basic)\s+\S+|\bey[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?/gi;

/** Others' words without tokens: a server may send back what it was sent, a program may print what it was given. */
export function redactTokens(text: string): string {
  return text.replaceAll(secretLike, '[redacted]');
}
