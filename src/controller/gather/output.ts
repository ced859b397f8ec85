import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { createDirectory } from '../../shared/create-directory.ts';
import { KmmError } from '../../shared/errors.ts';
import type { CustomResource } from '../observe/cluster/resources.ts';
import type { Rewrite } from './host-names.ts';

/** The summary's file: a directory that has it is not written to again. */
export const summaryFile = 'summary.md';

/** Bytes of a file name; file systems allow 255, with an ending. */
const maxNameLength = 200;

/** A directory that cannot be gathered into. */
export class GatherError extends KmmError<'OUTPUT_EXISTS' | 'OUTPUT_NOT_WRITABLE'> {
  override readonly name = 'GatherError';
}

/** The directory of a gathering, laid out as `oc adm inspect` does. */
export class GatherOutput {
  readonly #directory: string;
  /** What is done with all text and file names before they are written. */
  rewrite: Rewrite = (text) => text;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Creates the directory if need be. @throws GatherError if it has a gathering, or is not writable */
  static async open(directory: string): Promise<GatherOutput> {
    if (existsSync(join(directory, summaryFile))) {
      throw new GatherError({
        code: 'OUTPUT_EXISTS',
        message: `The directory ${directory} already contains a gathering`,
        hint: 'Give another directory with --output, or delete this one.',
        facts: { directory },
      });
    }
    const output = new GatherOutput(directory);
    await output.#write(['timestamp'], `${new Date().toISOString()}\n`);
    return output;
  }

  /** Writes a text below the directory. */
  async text(path: readonly string[], content: string): Promise<void> {
    await this.#write(
      path.map((name) => fileName(this.rewrite(name))),
      this.rewrite(content),
    );
  }

  /** Writes an object: its namespace, group and resource give the directory. */
  async object(group: string, plural: string, object: CustomResource): Promise<void> {
    const { namespace, name } = object.metadata;
    const scope = namespace === undefined ? ['cluster-scoped-resources'] : ['namespaces', namespace];
    const directory =
      group === '' && plural === 'pods' ? [...scope, 'pods', name] : [...scope, group || 'core', plural];
    await this.text([...directory, `${name}.yaml`], toYaml(object));
  }

  async #write(path: readonly string[], content: string): Promise<void> {
    const file = join(this.#directory, ...path);
    try {
      await createDirectory(dirname(file));
      await writeFile(file, content);
    } catch (error) {
      throw new GatherError({
        code: 'OUTPUT_NOT_WRITABLE',
        message: `${file} cannot be written: ${error instanceof Error ? error.message : 'unknown reason'}`,
        hint: 'Give a directory with enough space with --output.',
        facts: { file },
      });
    }
  }
}

/** Formats a value with sorted keys, so that two gatherings can be compared. */
export function toYaml(value: unknown): string {
  return stringify(value, { sortMapEntries: true, lineWidth: 0, aliasDuplicateObjects: false });
}

/** Makes a name fit to be a file's. Equal names have equal files. */
function fileName(name: string): string {
  const safe = name.replaceAll(/[^A-Za-z0-9._:@-]/g, '_').replace(/^\.+/, '_');
  if (safe.length <= maxNameLength) return safe;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 10);
  const ending = safe.endsWith('.yaml') ? '.yaml' : '';
  return `${safe.slice(0, maxNameLength - 20)}-${hash}${ending}`;
}
