import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import { createTemporaryDirectory } from '../../../src/shared/temporary.ts';
import { describeWith } from '../../support/programs.ts';
import { writeLayout } from '../../support/tar-layout.ts';
import { anyStack, filesOf, layerOf, overlayOf, tarOf } from '../../support/tar-stacks.ts';

const run = promisify(execFile);

/** Regular files with their contents, by absolute path; undefined when umoci refuses the layers. */
async function unpackWithUmoci(umoci: string, tars: readonly Buffer[]): Promise<string[] | undefined> {
  await using directory = await createTemporaryDirectory();
  const layout = join(directory.path, 'layout');
  const rootfs = join(directory.path, 'rootfs');
  await writeLayout(layout, tars);
  try {
    await run(umoci, ['raw', 'unpack', '--rootless', '--image', `${layout}:latest`, rootfs]);
  } catch {
    return undefined;
  }
  return (await listFiles(rootfs)).map((file) => file.slice(rootfs.length)).toSorted();
}

/** Regular files with their contents; symbolic links are not followed. */
async function listFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const lists = entries.map(async (entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return listFiles(path);
    return entry.isFile() ? [`${path} ${await readFile(path, 'utf8')}`] : [];
  });
  return (await Promise.all(lists)).flat();
}

async function listWithOverlay(stack: readonly (readonly string[])[]): Promise<string[] | undefined> {
  try {
    return await filesOf(await overlayOf(stack), 'extraction');
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

describeWith(['umoci'], 'the view of an extraction shows what umoci unpacks', ({ umoci }) => {
  test('of generated layers', async () => {
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(anyStack, async (stack) => {
        const ours = await listWithOverlay(stack);
        fc.pre(ours !== undefined && ours.length > 0);
        const theirs = await unpackWithUmoci(
          umoci,
          stack.map((entries, layer) => tarOf(layer, layerOf(entries))),
        );
        fc.pre(theirs !== undefined);
        compared++;
        expect(ours).toEqual(theirs);
      }),
      { numRuns: 80, maxSkipsPerRun: 1000 },
    );
    expect(compared).toBeGreaterThanOrEqual(80);
  }, 120_000);
});
