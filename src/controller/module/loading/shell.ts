const harmless = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** Quotes a word for a POSIX shell, where it needs quotes (POSIX.1-2017, Shell Command Language, 2.2.2). */
export function quote(word: string): string {
  return harmless.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Quotes words and joins them to a command. */
export function command(...words: readonly string[]): string {
  return words.map(quote).join(' ');
}
