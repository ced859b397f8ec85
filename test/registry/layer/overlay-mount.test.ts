import { execFile, execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import { describeWith, requireAll } from '../../support/programs.ts';
import { anyStack, filesOf, layerOf, overlayOf } from '../../support/tar-stacks.ts';

type Stack = readonly (readonly string[])[];

/** Most hard links of generated layers lead to what is not in their layer, which no overlayfs snapshotter can unpack. */
const withFewHardLinks = fc
  .tuple(anyStack, fc.boolean())
  .map(([stack, keeps]) =>
    keeps ? stack : stack.map((entries) => entries.filter((entry) => !entry.includes(' => '))),
  );

const program = fileURLToPath(new URL('../../support/mount-layers.py', import.meta.url));

function stdinOf(stacks: readonly Stack[]): string {
  return JSON.stringify(stacks.map((stack) => stack.map((entries) => layerOf(entries))));
}

async function listWithOverlay(stack: Stack): Promise<string[] | undefined> {
  try {
    return await filesOf(await overlayOf(stack), 'overlayfs');
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}

describeWith(['python3', 'unshare'], 'the overlayfs view', ({ python3, unshare }) => {
  const args = ['--mount', '--propagation', 'private', python3, program];

  /** Why overlayfs cannot be mounted here. */
  function findObstacle(): string | undefined {
    try {
      execFileSync(unshare, args, { input: stdinOf([[['a'], ['b']]]), stdio: ['pipe', 'pipe', 'pipe'] });
      return undefined;
    } catch (error) {
      return error instanceof Error ? (error.message.trim().split('\n').at(-1) ?? '') : String(error);
    }
  }

  /** What a mount shows of each stack; null for one that cannot be unpacked. */
  function mountAll(stacks: readonly Stack[]): Promise<(string[] | null)[]> {
    return new Promise((resolve, reject) => {
      const child = execFile(unshare, args, { maxBuffer: 1e8 }, (error, stdout) => {
        if (error) reject(error);
        else resolve(JSON.parse(stdout) as (string[] | null)[]);
      });
      child.stdin?.end(stdinOf(stacks));
    });
  }

  const obstacle = findObstacle();
  const title = obstacle === undefined ? '' : ` [overlayfs cannot be mounted: ${obstacle}]`;
  const isPossible = obstacle === undefined || requireAll;

  describe.runIf(isPossible)(`shows what a mount shows${title}`, () => {
    test('of generated layers', async () => {
      let compared = 0;
      let filesSeen = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(withFewHardLinks, { minLength: 40, maxLength: 40 }), async (stacks) => {
          const mounted = await mountAll(stacks);
          for (const [index, stack] of stacks.entries()) {
            const theirs = mounted[index];
            const ours = await listWithOverlay(stack);
            if (theirs === null || theirs === undefined || ours === undefined) continue;
            compared++;
            filesSeen += theirs.length;
            expect({ stack, files: ours }).toEqual({ stack, files: theirs });
          }
        }),
        { numRuns: 25, endOnFailure: true },
      );
      expect(compared).toBeGreaterThanOrEqual(200);
      expect(filesSeen).toBeGreaterThanOrEqual(200);
    }, 120_000);

    test.each<[string, Stack, string[], string[]]>([
      [
        'a file that is replaced through a link of a lower layer stays',
        [['opt/', 'opt/a.ko', 'o -> opt'], ['o/a.ko']],
        ['/o/a.ko 1:0', '/opt/a.ko 0:1'],
        ['/opt/a.ko 1:0'],
      ],
      [
        'a file that is whited out through a link of a lower layer stays',
        [['opt/', 'opt/a.ko', 'o -> opt'], ['o/.wh.a.ko']],
        ['/opt/a.ko 0:1'],
        [],
      ],
      [
        'a directory that takes the place of a whiteout in its layer is not opaque',
        [
          ['opt/', 'opt/a.ko'],
          ['.wh.opt', 'opt/', 'opt/b.ko'],
        ],
        ['/opt/a.ko 0:1', '/opt/b.ko 1:2'],
        ['/opt/b.ko 1:2'],
      ],
      [
        'a link of the same layer is followed',
        [
          ['opt/', 'opt/a.ko'],
          ['opt/', 'o -> opt', 'o/a.ko'],
        ],
        ['/opt/a.ko 1:2'],
        ['/opt/a.ko 1:2'],
      ],
    ])('%s', async (_, stack, overlayfs, extraction) => {
      expect(await mountAll([stack])).toEqual([overlayfs]);
      const overlay = await overlayOf(stack);
      expect(await filesOf(overlay, 'overlayfs')).toEqual(overlayfs);
      expect(await filesOf(overlay, 'extraction')).toEqual(extraction);
    });
  });
});
