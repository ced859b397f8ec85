import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const source = join(root, 'src');

/**
 * The folders of src/, each after all that it may import from: the graph that docs/architecture.md draws. Since the order
 * is total, folders cannot form a circle.
 */
const folders = [
  'shared',
  'registry/model',
  'registry/tar',
  'registry/layer',
  'registry/credentials',
  'registry/http',
  'registry/transfer',
  'registry/image',
  'registry/server',
  'registry',
  'signer/model',
  'signer/files',
  'signer/cms',
  'signer/kmod',
  'signer/keys',
  'signer/image/read',
  'signer/image/plan',
  'signer/image/publish',
  'signer',
  'api/schema',
  'api/module',
  'api/nfd',
  'api',
  'api/validation',
  'api/crd',
  'builder',
  'controller/runtime/api',
  'controller/runtime/cache',
  'controller/runtime/leader',
  'controller/runtime',
  'controller/configuration',
  'controller/observe/cluster',
  'controller/observe/references',
  'controller/observe/images',
  'controller/image-pipeline',
  'controller/module/kernel-mapping',
  'controller/module/loading',
  'controller/module/device-classes',
  'controller/module/labels',
  'controller/kmm-migration',
  'controller/module',
  'controller/node-modules',
  'controller/boot-module',
  'controller/node-trust',
  'controller/spoke',
  'controller/hub/fleet',
  'controller/hub/images',
  'controller/hub/work',
  'controller/hub/clusters',
  'controller/hub',
  'controller/preflight',
  'controller/webhook/certificates',
  'controller/gather',
  'controller/nfd/model',
  'controller/nfd/operands',
  'controller/nfd',
  'controller/operator',
  'controller/webhook',
  'cli/completion',
  'cli/output',
  'cli/options',
  'cli/session',
  'cli/demo',
  'cli/actions',
  'cli/commands',
  'cli',
  'cli/operator',
  'cli/github-action',
];

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

/** The position of a file's folder; files directly in src/ are the library's face, above all. */
function heightOf(path: string): number {
  const folder = dirname(path);
  return folder === '.' ? folders.length : folders.indexOf(folder);
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
    expect(files.find(({ path }) => path === 'registry/model/errors.ts')?.imports).toEqual([
      'shared/errors.ts',
    ]);
  });

  test('has the folders that the graph knows, and no others', () => {
    const there = new Set(files.map(({ path }) => dirname(path)));
    there.delete('.');
    expect([...there].toSorted()).toEqual(folders.toSorted());
  });

  test('imports only files that are there, by their full name', () => {
    const paths = new Set(files.map(({ path }) => path));
    const missing = files.flatMap(({ path, imports }) =>
      imports.filter((imported) => !paths.has(imported)).map((imported) => `${path} imports ${imported}`),
    );
    expect(missing).toEqual([]);
  });

  test('imports only from folders that come before in the graph', () => {
    const upward = files.flatMap(({ path, imports }) =>
      imports
        .filter((imported) => heightOf(imported) > heightOf(path))
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

  test('creates directories by the one function that always ends', () => {
    const others = files.filter(({ text }) =>
      /\bmkdir(?:Sync)?\([^;]*\brecursive\b/.test(withoutComments(text)),
    );
    expect(others.map(({ path }) => path)).toEqual([]);
  });

  test('writes to the console in no place but the command line', () => {
    const writers = files.filter(
      ({ path, text }) =>
        !path.startsWith('cli/') && /\bconsole\.|process\.std(?:out|err)\b/.test(withoutComments(text)),
    );
    expect(writers.map(({ path }) => path)).toEqual([]);
  });
});
