import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const source = join(root, 'src');

/** From the ground up. A folder knows itself and those before it. */
const floors = ['shared', 'registry', 'signer', 'api', 'builder', 'controller', 'cli'];

const maxLines = 300;

/** Words that say that something is not finished. */
const unfinished = /\b(?:TODO|FIXME|XXX|HACK|not (?:yet )?implemented|unimplemented)\b/i;

/** Comments that silence the tools instead of heeding them. */
const silencers =
  /@ts-(?:ignore|expect-error|nocheck)|(?:oxlint|eslint)-disable|prettier-ignore|oxfmt-ignore/;

interface SourceFile {
  /** From src/, with slashes. */
  readonly path: string;
  readonly text: string;
  /** What it imports within src/, in the same form. */
  readonly imports: readonly string[];
}

/** Static imports, re-exports and dynamic imports of relative files; a type import binds floors as any other does. */
const importPattern = /(?:\bfrom|\bimport)\s*\(?\s*(?<quote>['"])(?<specifier>\.{1,2}\/[^'"]+)\k<quote>/g;

/** What the build puts in; not a source file. */
const packageFile = '../package.json';

function fromSource(path: string): string {
  return relative(source, path).split(sep).join('/');
}

function readSource(file: string): SourceFile {
  const text = readFileSync(file, 'utf8');
  const imports = [...withoutComments(text).matchAll(importPattern)]
    .map(({ groups }) => fromSource(join(dirname(file), groups?.['specifier'] ?? '')))
    .filter((path) => path !== packageFile);
  return { path: fromSource(file), text, imports };
}

/** Strings are matched first, so that what looks like a comment in one is kept. */
function withoutComments(text: string): string {
  return text.replaceAll(
    /(?<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (_match, string: string | undefined) => string ?? '',
  );
}

const files = readdirSync(source, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => readSource(join(entry.parentPath, entry.name)))
  .toSorted((one, other) => one.path.localeCompare(other.path));

/** The height of a file's folder; files directly in src/ are the library's face, above all. */
function floorOf(path: string): number {
  const [folder = '', ...rest] = path.split('/');
  if (rest.length === 0) return floors.length;
  return floors.indexOf(folder);
}

/** A way from a file back to itself, if there is one. */
function findCircle(): string[] | undefined {
  const importsOf = new Map(files.map(({ path, imports }) => [path, imports]));
  const finished = new Set<string>();
  const visit = (path: string, way: readonly string[]): string[] | undefined => {
    if (finished.has(path)) return undefined;
    const before = way.indexOf(path);
    if (before !== -1) return [...way.slice(before), path];
    for (const next of importsOf.get(path) ?? []) {
      const circle = visit(next, [...way, path]);
      if (circle !== undefined) return circle;
    }
    finished.add(path);
    return undefined;
  };
  for (const { path } of files) {
    const circle = visit(path, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

describe('the source', () => {
  test('is found, with its imports', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(files.find(({ path }) => path === 'registry/errors.ts')?.imports).toEqual(['shared/errors.ts']);
  });

  test('has only folders that are floors', () => {
    expect(files.filter(({ path }) => floorOf(path) === -1).map(({ path }) => path)).toEqual([]);
  });

  test('imports only files that are there, by their full name', () => {
    const paths = new Set(files.map(({ path }) => path));
    const missing = files.flatMap(({ path, imports }) =>
      imports.filter((imported) => !paths.has(imported)).map((imported) => `${path} imports ${imported}`),
    );
    expect(missing).toEqual([]);
  });

  test('never imports upward', () => {
    const upward = files.flatMap(({ path, imports }) =>
      imports
        .filter((imported) => floorOf(imported) > floorOf(path))
        .map((imported) => `${path} imports ${imported}`),
    );
    expect(upward).toEqual([]);
  });

  test('never imports in a circle', () => {
    expect(findCircle()).toBeUndefined();
  });

  test(`has no file of more than ${maxLines} lines`, () => {
    const long = files.filter(({ text }) => text.trimEnd().split('\n').length > maxLines);
    expect(long.map(({ path }) => path)).toEqual([]);
  });

  test.each([
    ['leaves nothing unfinished', unfinished],
    ['silences no tool', silencers],
  ])('%s', (_title, pattern) => {
    const lines = files.flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
    );
    expect(lines).toEqual([]);
  });

  test('writes to the console in no place but the command line', () => {
    const writers = files.filter(
      ({ path, text }) =>
        !path.startsWith('cli/') && /\bconsole\.|process\.std(?:out|err)\b/.test(withoutComments(text)),
    );
    expect(writers.map(({ path }) => path)).toEqual([]);
  });
});
