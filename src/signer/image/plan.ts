import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import type { Replacement } from '../../registry/tar/entry.ts';
import { sliceSource } from '../../shared/file-source.ts';
import { packModule } from '../kmod/compression.ts';
import { ContentDigests } from '../kmod/content-digest.ts';
import { createModuleSignature } from '../kmod/module-signature.ts';
import { changesModule, decideSignAction } from '../kmod/sign-action.ts';
import { isTokenUri } from '../keys/reference.ts';
import type { SignAction } from '../model/report.ts';
import { runSignFile } from '../keys/sign-file-program.ts';
import { otherKindWarning, passedOverWarning } from './file-warnings.ts';
import type { ModuleSigning } from './module-signing.ts';
import { isPassedOver, requireModule, type Prepared, type PreparedModule } from './prepare.ts';
import type { FoundFile } from './scan.ts';
import type { Spool } from './spool.ts';

/** Modules that are signed one beside the other where that was not done while layers were read. */
const concurrency = availableParallelism();

/** A module of the image and what becomes of it. */
export interface PlannedModule {
  readonly found: FoundFile<Prepared>;
  readonly module: PreparedModule;
  readonly action: SignAction;
}

/** A planned module with its new content. */
export interface SignedModule extends PlannedModule {
  readonly replacement: Replacement;
}

/**
 * Decides what to do with each file that was asked for. What was only found, and is not a module, is left out.
 * @throws SignerError NOT_A_MODULE, DAMAGED_MODULE, ALREADY_SIGNED
 */
export function planModules(files: readonly FoundFile<Prepared>[], signing: ModuleSigning): PlannedModule[] {
  const planned: PlannedModule[] = [];
  for (const found of files) {
    if (!found.explicit && isPassedOver(found.captured)) continue;
    const module = requireModule(found.captured, found.path, found.explicit);
    const action = decideSignAction(module, { ...signing, policy: signing.existing, path: found.path });
    planned.push({ found, module, action });
  }
  return planned;
}

/** What users should know of the files that were found. */
export function moduleWarnings(
  files: readonly FoundFile<Prepared>[],
  modules: readonly PlannedModule[],
): string[] {
  const planned = new Set(modules.map(({ found }) => found));
  return files.flatMap((found) => {
    if (!planned.has(found)) return [passedOverWarning(found.path)];
    const prepared = found.captured;
    const isOther = 'module' in prepared && prepared.module.info.kind === 'other';
    return isOther ? [otherKindWarning(found.path)] : [];
  });
}

/** Whether a planned module gets new bytes. */
export function changes({ action }: PlannedModule): boolean {
  return changesModule(action);
}

/** Signs the modules that change. `onSigned` is called as each is done. */
export async function signModules(
  planned: readonly PlannedModule[],
  options: ModuleSigning & { readonly spool: Spool; readonly onSigned?: (module: PlannedModule) => void },
): Promise<SignedModule[]> {
  const { spool, onSigned } = options;
  // A token that is asked again and again with a wrong PIN locks itself.
  const limit = pLimit(isTokenUri(options.signFile?.key ?? '') ? 1 : concurrency);
  return limit.map(planned.filter(changes), async (plan): Promise<SignedModule> => {
    const signature = await (plan.module.early?.signature ?? signatureOf(plan.module, options)).catch(
      (error: unknown) => {
        limit.clearQueue();
        throw error;
      },
    );
    const replacement = await replace(plan.module, signature, spool);
    onSigned?.(plan);
    return { ...plan, replacement };
  });
}

async function signatureOf({ layout, unpacked }: PreparedModule, options: ModuleSigning): Promise<Buffer> {
  const { signFile, hash, identifierForm, signal } = options;
  const { contentSize } = layout;
  signal?.throwIfAborted();
  if (signFile !== undefined) {
    const content = sliceSource(unpacked, 0, contentSize);
    return runSignFile({ ...signFile, hash, identifierForm, content, signal });
  }
  const digest = await new ContentDigests(unpacked).get(hash, contentSize);
  return createModuleSignature({ ...options, digest });
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
