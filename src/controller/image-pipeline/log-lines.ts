import { redactTokens } from '../../shared/printable.ts';

/** Characters of a log that go to a status. */
const maxLength = 600;
const lineCount = 3;

/** What colours a terminal. */
const colours = /\p{Cc}\[[0-9;]*m/gu;
/** As compilers begin what they complain about: `hello.c:12:9: error: …`. */
const complaint = /^\S+:\d+(?::\d+)?: (?:fatal )?error: /;

/**
 * What a log says of a failure, as one line and without tokens: the first complaint of a compiler, since all that
 * called the compiler complain after it, and the last lines, since what a program says last is most often why it fails.
 */
export function linesOfFailure(log: string): string {
  const lines = log
    .split('\n')
    .map((line) =>
      line
        .replaceAll(colours, '')
        .replaceAll(/\p{Cc}+/gu, ' ')
        .trim(),
    )
    .filter((line) => line !== '');
  const first = lines.slice(0, -lineCount).find((line) => complaint.test(line));
  const last = shortened(lines.slice(-lineCount).join(' | '), maxLength);
  if (first === undefined) return last;
  const start = redactTokens(first).slice(0, maxLength / 2);
  return `${start} | … | ${shortened(lines.at(-1) ?? '', maxLength / 2)}`;
}

/** The end of a text, without tokens. */
function shortened(text: string, length: number): string {
  const redacted = redactTokens(text);
  return redacted.length <= length ? redacted : `…${redacted.slice(redacted.length - length + 1)}`;
}
