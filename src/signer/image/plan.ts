import type { Replacement } from '../../registry/tar/entry.ts';
import type { HashAlgorithm } from '../hash.ts';
import type { Signer, SignerIdentifierForm } from '../keys/signer.ts';
import { sliceSource } from '../kmod/file-source.ts';
import { packModule } from '../kmod/compression.ts';
import { ContentDigests } from '../kmod/content-digest.ts';
import { createModuleSignature } from '../kmod/module-signature.ts';
import { decideSignAction } from '../kmod/sign-action.ts';
import type { ExistingSignaturePolicy, SignAction } from '../report.ts';
import { runSignFile, type SignFileProgramOptions } from '../sign-file-program.ts';
import { ModuleMemory } from './module-memory.ts';
import { requireModule, type Prepared, type PreparedModule } from './prepare.ts';
import type { FoundFile } from './scan.ts';
import type { Spool } from './spool.ts';

/** The kernel tree's program, to sign with instead of our own code. */
export type ExternalSignFile = Pick<SignFileProgramOptions, 'program' | 'key' | 'certificate' | 'passphrase'>;

/** Modules up to this many bytes are signed in memory; of larger ones the digest is signed. */
const inMemoryLimit = 4 * 1024 * 1024;

/** How modules are to be signed. */
export interface ModuleSigning {
  readonly signer: Signer;
  readonly hash: HashAlgorithm;
  readonly identifierForm: SignerIdentifierForm;
  readonly existing: ExistingSignaturePolicy;
  readonly signFile?: ExternalSignFile | undefined;
  readonly signal?: AbortSignal | undefined;
}

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

/** Decides what to do with each file that was asked for. @throws SignerError NOT_A_MODULE, DAMAGED_MODULE, ALREADY_SIGNED */
export function planModules(files: readonly FoundFile<Prepared>[], signing: ModuleSigning): PlannedModule[] {
  const planned: PlannedModule[] = [];
  for (const found of files) {
    const module = requireModule(found.captured, found.path);
    const action = decideSignAction(module, { ...signing, policy: signing.existing, path: found.path });
    planned.push({ found, module, action });
  }
  return planned;
}

/** Whether a planned module gets new bytes. */
export function changes({ action }: PlannedModule): boolean {
  return action === 'signed' || action === 'replaced';
}

/** Signs the modules that change. `onSigned` is called as each is done. */
export async function signModules(
  planned: readonly PlannedModule[],
  options: ModuleSigning & { readonly spool: Spool; readonly onSigned?: (module: PlannedModule) => void },
): Promise<SignedModule[]> {
  const { spool, onSigned } = options;
  const memory = new ModuleMemory();
  return Promise.all(
    planned.filter(changes).map(async (plan): Promise<SignedModule> => {
      const signature = await signatureOf(plan.module, memory, options);
      const replacement = await replace(plan.module, signature, spool);
      onSigned?.(plan);
      return { ...plan, replacement };
    }),
  );
}

async function signatureOf(
  { layout, unpacked }: PreparedModule,
  memory: ModuleMemory,
  options: ModuleSigning,
): Promise<Buffer> {
  const { signFile, hash, identifierForm, signal } = options;
  const { contentSize } = layout;
  signal?.throwIfAborted();
  if (signFile !== undefined) {
    const content = sliceSource(unpacked, 0, contentSize);
    return runSignFile({ ...signFile, hash, identifierForm, content, signal });
  }
  if (contentSize > inMemoryLimit) {
    const digest = await new ContentDigests(unpacked).get(hash, contentSize);
    return createModuleSignature({ ...options, digest });
  }
  return memory.lend(unpacked, contentSize, (content) => {
    signal?.throwIfAborted();
    return createModuleSignature({ ...options, content });
  });
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
