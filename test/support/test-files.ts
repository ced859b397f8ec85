import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** A file that mentions one of these runs the built program. */
const program = /\bbin\/kmm-(?:sign|operator)\.js\b|'bin', 'kmm-/;

/** Paths of test files, relative to the root of the checkout. */
export interface TestFiles {
  /** Those that run the program, directly or through their imports: it must be built first. */
  readonly program: readonly string[];
  /** Those that only use the sources. */
  readonly sources: readonly string[];
}

/** Groups the test files by what they need. */
export function sortTestFiles(): TestFiles {
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `test/${name}`);
  const known = new Map<string, boolean>();
  return {
    program: files.filter((file) => runsProgram(file, known)),
    sources: files.filter((file) => !runsProgram(file, known)),
  };
}

function runsProgram(file: string, known: Map<string, boolean>): boolean {
  const before = known.get(file);
  if (before !== undefined) return before;
  // In an import cycle, the other files decide.
  known.set(file, false);
  const text = readFileSync(join(root, file), 'utf8');
  const imported = Array.from(text.matchAll(/\bfrom '(\.{1,2}\/[^']+\.ts)'/g), ([, specifier = '']) =>
    relative(root, join(root, dirname(file), specifier)),
  ).filter((path) => !path.startsWith('src/'));
  const runs = program.test(text) || imported.some((path) => runsProgram(path, known));
  known.set(file, runs);
  return runs;
}
