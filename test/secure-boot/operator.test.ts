import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { extractModules } from '../../src/signer/extract-image.ts';
import {
  operatorWorldPrograms,
  startOperatorWorld,
  type OperatorWorld,
} from '../end-to-end/operator-world.ts';
import { describeWith } from '../support/programs.ts';
import { loadUnderSecureBoot, type LoadResult } from './load-under-secure-boot.ts';
import { kernelRelease } from '../support/debian-kernel.ts';

const name = 'example-module';
const tags = {
  signed: kernelRelease,
  'as it was built': `${kernelRelease}-default_${name}_kmm_unsigned`,
} as const;

describeWith(
  [...operatorWorldPrograms, 'qemu-system-x86_64'],
  'a module that the operator built and signed, under Secure Boot',
  () => {
    let directory: string;
    let world: OperatorWorld;
    let results: Map<string, LoadResult>;

    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
      world = await startOperatorWorld();
      await world.kubelet.addNode({ name: 'worker-0', kernel: kernelRelease });
      await world.startOperator();
      await world.applyManifest('build-and-sign');
      await world.eventually(name, ({ status }) => {
        if (status?.kernels?.[0]?.phase !== 'Ready') throw new Error(JSON.stringify(status));
      });
      const modules = await Promise.all(
        Object.entries(tags).map(async ([title, tag]) => ({ name: title, bytes: await moduleOf(tag) })),
      );
      const loaded = await loadUnderSecureBoot({ modules, certificates: [world.key.x509] });
      results = new Map(loaded.map((result) => [result.name, result]));
    }, 600_000);
    afterAll(async () => {
      await world?.[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    });

    /** The module of an image in the registry. */
    async function moduleOf(tag: string): Promise<Buffer> {
      const image = { repository: world.repository('example/minimal-driver'), selector: { tag } };
      const folder = join(directory, tag);
      await extractModules({ image, directory: folder });
      return readFile(join(folder, 'opt/lib/modules', kernelRelease, 'hello.ko'));
    }

    test('loads', () => {
      expect(results.get('signed')).toMatchObject({ loaded: true, error: null, taint: 'O' });
      expect(results.get('signed')?.log).toContain('hello: greetings, world');
    });

    test('is refused as it was before it was signed', () => {
      expect(results.get('as it was built')).toMatchObject({ loaded: false, error: 'EKEYREJECTED' });
      expect(results.get('as it was built')?.log).toContain('Loading of unsigned module is rejected');
    });
  },
);
