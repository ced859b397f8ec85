import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';

/** An object that the KMM documentation shows. */
export interface DocumentExample {
  readonly file: string;
  /** Its place in the file. */
  readonly index: number;
  readonly object: object;
}

const directory = fileURLToPath(new URL('../../fixtures/documents/', import.meta.url));

/** All of them. */
export const documentExamples: readonly DocumentExample[] = readdirSync(directory, {
  recursive: true,
  encoding: 'utf8',
})
  .filter((file) => file.endsWith('.yaml'))
  .toSorted()
  .flatMap((file) =>
    parseAllDocuments(readFileSync(join(directory, file), 'utf8')).map((document, index) => ({
      file,
      index,
      object: document.toJS() as object,
    })),
  );

/** One of them. @throws Error when there is none */
export function documentExample(file: string, index = 0): object {
  const found = documentExamples.find((one) => one.file === file && one.index === index);
  if (found === undefined) throw new Error(`${file} has no object ${index}`);
  return found.object;
}

/** The same with names in place of placeholders such as `<my_kmod>`. */
export function withoutPlaceholders<T extends object>(object: T): T {
  const text = JSON.stringify(object);
  const named = text.replaceAll(/<([a-z_-]+)>/g, (_match, name: string) => name.replaceAll('_', '-'));
  return JSON.parse(named) as T;
}
