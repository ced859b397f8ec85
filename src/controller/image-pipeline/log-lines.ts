import { redactTokens } from '../../shared/redact-tokens.ts';

/** Characters of a log that go to a status. */
const maxLength = 600;
const lineCount = 3;

/** What colours a terminal. */
const colours = /\p{Cc}\[[0-9;]*m/gu;

/** The last lines of a log as one line, without tokens: what a failing program says last is most often why. */
export function lastLines(log: string): string {
  const lines = log
    .split('\n')
    .map((line) =>
      line
        .replaceAll(colours, '')
        .replaceAll(/\p{Cc}+/gu, ' ')
        .trim(),
    )
    .filter((line) => line !== '');
  const text = redactTokens(lines.slice(-lineCount).join(' | '));
  return text.length <= maxLength ? text : `…${text.slice(text.length - maxLength + 1)}`;
}
