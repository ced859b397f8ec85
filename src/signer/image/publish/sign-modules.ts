import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import type { Replacement } from '../../../registry/tar/entry.ts';
import { sliceSource } from '../../../shared/byte-source.ts';
import { isTokenUri } from '../../keys/reference.ts';
import { runSignFile } from '../../keys/sign-file-program.ts';
import { packModule } from '../../kmod/compression.ts';
import { ContentDigests } from '../../kmod/content-digest.ts';
import { createModuleSignature } from '../../kmod/sign-module.ts';
import type { SigningRun } from '../plan/signing-run.ts';
import { changes, type PlannedModule, type PreparedModule } from '../plan/plan-modules.ts';
import type { Spool } from '../read/spool.ts';

/** Modules signed concurrently, if they were not already signed while layers were read. */
const concurrency = availableParallelism();

/** A planned module with its new content. */
export interface SignedModule extends PlannedModule {
  readonly replacement: Replacement;
}

/** Signs the modules that change, and calls `onSigned` as each is done. */
export async function signModules(
  planned: readonly PlannedModule[],
  run: SigningRun,
  onSigned: (module: PlannedModule) => void,
): Promise<SignedModule[]> {
  // A token locks itself after repeated attempts with a wrong PIN.
  const limit = pLimit(isTokenUri(run.signFile?.key ?? '') ? 1 : concurrency);
  return limit.map(planned.filter(changes), async (plan): Promise<SignedModule> => {
    const signature = await (plan.module.early?.signature ?? signatureOf(plan.module, run)).catch(
      (error: unknown) => {
        limit.clearQueue();
        throw error;
      },
    );
    const replacement = await replace(plan.module, signature, run.spool);
    onSigned(plan);
    return { ...plan, replacement };
  });
}

async function signatureOf({ layout, unpacked }: PreparedModule, run: SigningRun): Promise<Buffer> {
  const { signFile, hash, signal } = run;
  const { contentSize } = layout;
  signal.throwIfAborted();
  if (signFile !== undefined) {
    const content = sliceSource(unpacked, 0, contentSize);
    return runSignFile(signFile, run, content, run.temporaryDirectory, signal);
  }
  const digest = await new ContentDigests(unpacked).get(hash, contentSize);
  return createModuleSignature(run, { digest });
}

async function replace(module: PreparedModule, signature: Buffer, spool: Spool): Promise<Replacement> {
  const { unpacked, compression } = module;
  const { contentSize } = module.layout;
  if (compression === 'none') {
    return {
      size: contentSize + signature.length,
      async *open() {
        yield* unpacked.stream(0, contentSize);
        yield signature;
      },
    };
  }
  const signed = Buffer.concat([await unpacked.read(0, contentSize), signature]);
  const packed = await spool.store(await packModule(signed, compression));
  return { size: packed.size, open: () => packed.stream() };
}
