import { SignerError } from './errors.ts';

/** A parsed `--file` pattern: an absolute path, or a glob over absolute paths. */
export interface FilePattern {
  readonly text: string;
  /** Cleaned absolute path if the pattern contains no wildcard, otherwise null. */
  readonly exact: string | null;
  /** Cleaned path of the directories before the first wildcard; `/` if there are none. */
  readonly base: string;
  /** Returns whether an absolute, cleaned path matches. */
  matches(path: string): boolean;
}

type Segment =
  | { readonly type: 'name'; readonly name: string }
  | { readonly type: 'glob'; readonly parts: readonly Part[] }
  | { readonly type: 'any-depth' };

type Part =
  | { readonly type: 'literal'; readonly character: string }
  | { readonly type: 'any' }
  | { readonly type: 'many' }
  | {
      readonly type: 'set';
      readonly negated: boolean;
      readonly ranges: readonly (readonly [string, string])[];
    };

const maxPatternLength = 4096;

/**
 * Parses a pattern: `*` and `?` match within one path segment, `[a-z]` and `[!a-z]` match one character of a
 * set, a segment `**` matches any number of directories, and a backslash escapes the next character
 * (POSIX.1-2017, Shell Command Language, 2.13). Nothing is expanded.
 * @throws SignerError INVALID_PATTERN
 */
export function parseFilePattern(text: string): FilePattern {
  if (!text.startsWith('/')) {
    throw invalid(text, 'does not begin with /', 'Give the absolute path that the file has in the image.');
  }
  if (text.length > maxPatternLength)
    throw invalid(text.slice(0, 80), `is longer than ${maxPatternLength} characters`);
  const names = text.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) throw invalid(text, 'contains ".."');
  if (names.length === 0) throw invalid(text, 'names no file');
  const segments = names.map((name) => parseSegment(name, text));
  const literal = segments.map((segment) => (segment.type === 'name' ? segment.name : null));
  const firstWildcard = literal.indexOf(null);
  if (firstWildcard === -1) {
    const exact = `/${literal.join('/')}`;
    return { text, exact, base: `/${literal.slice(0, -1).join('/')}`, matches: (path) => path === exact };
  }
  return {
    text,
    exact: null,
    base: `/${literal.slice(0, firstWildcard).join('/')}`,
    matches: (path) => matchSegments(segments, path.split('/').slice(1)),
  };
}

/**
 * Returns the pattern with symbolic links in its literal part resolved: the same pattern below another
 * directory.
 */
export function rebasePattern(pattern: FilePattern, base: string): FilePattern {
  const rest = pattern.text
    .split('/')
    .filter((name) => name !== '' && name !== '.')
    .slice(pattern.base === '/' ? 0 : pattern.base.split('/').length - 1);
  const escaped = base === '/' ? '' : base.replaceAll(/[*?[\]\\]/g, String.raw`\$&`);
  return { ...parseFilePattern(`${escaped}/${rest.join('/')}`), text: pattern.text };
}

function invalid(pattern: string, what: string, hint?: string): SignerError {
  return new SignerError({
    code: 'INVALID_PATTERN',
    message: `the file pattern "${pattern}" ${what}`,
    hint,
    facts: { pattern },
  });
}

function parseSegment(name: string, pattern: string): Segment {
  if (name === '**') return { type: 'any-depth' };
  if (!/[*?[\\]/.test(name)) return { type: 'name', name };
  const parts: Part[] = [];
  const characters = Array.from(name);
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? '';
    if (character === '*') {
      if (parts.at(-1)?.type !== 'many') parts.push({ type: 'many' });
    } else if (character === '?') {
      parts.push({ type: 'any' });
    } else if (character === '[') {
      const { part, end } = parseSet(characters, at, pattern);
      parts.push(part);
      at = end;
    } else if (character === '\\') {
      const escaped = characters[++at];
      if (escaped === undefined) throw invalid(pattern, 'ends in a backslash');
      parts.push({ type: 'literal', character: escaped });
    } else {
      parts.push({ type: 'literal', character });
    }
  }
  const literal = literalText(parts);
  return literal === null ? { type: 'glob', parts } : { type: 'name', name: literal };
}

function parseSet(
  characters: readonly string[],
  start: number,
  pattern: string,
): { part: Part; end: number } {
  let at = start + 1;
  const negated = characters[at] === '!' || characters[at] === '^';
  if (negated) at++;
  const ranges: [string, string][] = [];
  for (let first = true; first || characters[at] !== ']'; first = false) {
    const low = setCharacter(characters, at, pattern);
    at = low.next;
    if (characters[at] === '-' && characters[at + 1] !== ']' && characters[at + 1] !== undefined) {
      const high = setCharacter(characters, at + 1, pattern);
      at = high.next;
      ranges.push([low.character, high.character]);
    } else {
      ranges.push([low.character, low.character]);
    }
  }
  return { part: { type: 'set', negated, ranges }, end: at };
}

function setCharacter(
  characters: readonly string[],
  at: number,
  pattern: string,
): { character: string; next: number } {
  const escaped = characters[at] === '\\';
  const character = characters[escaped ? at + 1 : at];
  if (character === undefined) throw invalid(pattern, 'has a "[" without "]"');
  return { character, next: at + (escaped ? 2 : 1) };
}

function literalText(parts: readonly Part[]): string | null {
  let text = '';
  for (const part of parts) {
    if (part.type !== 'literal') return null;
    text += part.character;
  }
  return text;
}

/** Matches greedily with one backtracking point: the latest `**` takes one more directory. */
function matchSegments(segments: readonly Segment[], names: readonly string[]): boolean {
  return matchGreedy({
    patternLength: segments.length,
    textLength: names.length,
    isWildcard: (index) => segments[index]?.type === 'any-depth',
    matchesOne: (index, at) => matchesName(segments[index], names[at] ?? ''),
  });
}

function matchesName(segment: Segment | undefined, name: string): boolean {
  if (segment?.type === 'name') return segment.name === name;
  return segment?.type === 'glob' && matchGlob(segment.parts, Array.from(name));
}

function matchGlob(parts: readonly Part[], characters: readonly string[]): boolean {
  return matchGreedy({
    patternLength: parts.length,
    textLength: characters.length,
    isWildcard: (index) => parts[index]?.type === 'many',
    matchesOne: (index, at) => matchesCharacter(parts[index], characters[at] ?? ''),
  });
}

function matchesCharacter(part: Part | undefined, character: string): boolean {
  switch (part?.type) {
    case 'literal':
      return part.character === character;
    case 'any':
      return true;
    case 'set':
      return part.ranges.some(([low, high]) => low <= character && character <= high) !== part.negated;
    case 'many':
    case undefined:
      return false;
  }
}

interface GreedyMatch {
  readonly patternLength: number;
  readonly textLength: number;
  readonly isWildcard: (index: number) => boolean;
  readonly matchesOne: (index: number, at: number) => boolean;
}

/** Matches in time proportional to pattern length times text length, whatever the pattern. */
function matchGreedy({ patternLength, textLength, isWildcard, matchesOne }: GreedyMatch): boolean {
  let index = 0;
  let at = 0;
  let wildcard = -1;
  let resumeAt = 0;
  while (at < textLength) {
    if (index < patternLength && isWildcard(index)) {
      wildcard = index++;
      resumeAt = at;
    } else if (index < patternLength && matchesOne(index, at)) {
      index++;
      at++;
    } else if (wildcard !== -1) {
      index = wildcard + 1;
      at = ++resumeAt;
    } else {
      return false;
    }
  }
  while (index < patternLength && isWildcard(index)) index++;
  return index === patternLength;
}
