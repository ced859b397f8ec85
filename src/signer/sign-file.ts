import { readFile, realpath, stat } from 'node:fs/promises';
import { type ByteSource, fileSource } from '../shared/byte-source.ts';
import { parseSignedData } from './cms/parse-signed-data.ts';
import { SignatureRefusal, damagedModule, SignerError } from './model/errors.ts';
import type { Signer, SignerIdentifierForm } from './cms/signer.ts';
import { fileError, replaceFile } from './files/write-file.ts';
import { analyzeNamedModule, type ModuleAnalysis } from './kmod/analyze-module.ts';
import { packModule } from './kmod/compression.ts';
import { createDetachedSignature, decideSignAction } from './kmod/sign-module.ts';
import { encodeTrailer } from './kmod/trailer.ts';
import type { HashAlgorithm } from './model/module.ts';
import type { ExistingSignaturePolicy, SignAction } from './model/report.ts';

/** The source of the signature. */
export type SignatureOrigin =
  | { readonly signer: Signer; readonly identifierForm: SignerIdentifierForm }
  /** A ready-made CMS in DER, as with `sign-file -s`. */
  | { readonly rawSignature: string };

export interface SignLocalModuleOptions {
  readonly path: string;
  /** Output path of the signed module. @default `path` itself */
  readonly destination?: string | undefined;
  readonly origin: SignatureOrigin;
  readonly hash: HashAlgorithm;
  /** @default 'replace' */
  readonly existing?: ExistingSignaturePolicy | undefined;
  /**
   * `instead` writes only the CMS, as `PATH.p7s`, and leaves the module unchanged (`sign-file -d`); `too`
   * writes both (`sign-file -p`). @default 'no'
   */
  readonly detached?: 'no' | 'instead' | 'too' | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface SignedLocalModule {
  readonly path: string;
  readonly destination: string;
  readonly action: SignAction;
  /** Size of the file in bytes, before and after. */
  readonly sizeBefore: number;
  readonly sizeAfter: number;
}

/**
 * Signs a kernel module on disk, compressed or not, as the kernel tree's sign-file does. The output is
 * written atomically and keeps the file's mode.
 * @throws SignerError NOT_A_MODULE, DAMAGED_MODULE, ALREADY_SIGNED, FILE_ERROR
 */
export async function signLocalModule(options: SignLocalModuleOptions): Promise<SignedLocalModule> {
  const { path, origin, existing = 'replace', signal } = options;
  const destination = options.destination ?? path;
  await using file = await openModule(path);
  const certificates = 'signer' in origin ? [origin.signer.certificate] : [];
  const analysis = await analyzeNamedModule(file.source, path, certificates, signal);
  const action = decideAction(analysis, options, existing);
  const done = { path, destination, action, sizeBefore: file.source.size };
  if (action === 'unchanged' || action === 'kept') {
    if (destination !== path) await write(destination, [file.source], file.mode);
    return { ...done, sizeAfter: file.source.size };
  }
  const cms = await makeSignature(options, analysis);
  if (options.detached === 'instead' || options.detached === 'too') {
    await replaceFile(`${path}.p7s`, [cms], 0o644);
  }
  if (options.detached === 'instead') return { ...done, sizeAfter: file.source.size };
  const contents = await pack(analysis, [cms, encodeTrailer(cms.length)], signal);
  await write(destination, contents, file.mode);
  return { ...done, sizeAfter: contents.reduce((sum, part) => sum + sizeOf(part), 0) };
}

function decideAction(
  analysis: ModuleAnalysis,
  { origin, hash, path }: SignLocalModuleOptions,
  policy: ExistingSignaturePolicy,
): SignAction {
  if ('signer' in origin) return decideSignAction(analysis, { ...origin, hash }, policy, path);
  // The signer of a ready-made signature is unknown, so it can only replace existing ones.
  if (analysis.layout.unremovable !== null) throw damagedModule(analysis.layout.unremovable);
  return analysis.layout.signatures === 0 ? 'signed' : 'replaced';
}

async function makeSignature(
  { origin, hash }: SignLocalModuleOptions,
  analysis: ModuleAnalysis,
): Promise<Buffer> {
  if ('signer' in origin)
    return createDetachedSignature({ ...origin, hash }, { digest: await analysis.contentDigest(hash) });
  const cms = await readSmallFile(origin.rawSignature);
  try {
    parseSignedData(cms);
  } catch (error) {
    if (!(error instanceof SignatureRefusal)) throw error;
    throw new SignerError({
      code: 'FILE_ERROR',
      message: `${origin.rawSignature} is not a CMS signature that kernels accept: ${error.message} (they return ${error.code})`,
      facts: { path: origin.rawSignature },
    });
  }
  return cms;
}

async function pack(
  { compression, content }: ModuleAnalysis,
  appended: readonly Buffer[],
  signal: AbortSignal | undefined,
): Promise<readonly (Buffer | ByteSource)[]> {
  if (compression === 'none') return [content, ...appended];
  const signed = Buffer.concat([await content.read(0, content.size), ...appended]);
  return [await packModule(signed, compression, signal)];
}

async function openModule(path: string): Promise<AsyncDisposable & { source: ByteSource; mode: number }> {
  try {
    const { mode } = await stat(path);
    const source = await fileSource(path);
    return { source, mode: mode & 0o7777, [Symbol.asyncDispose]: () => source[Symbol.asyncDispose]() };
  } catch (error) {
    throw fileError('read', path, error);
  }
}

async function readSmallFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw fileError('read', path, error);
  }
}

/** Writes through a symbolic link, so that the link is preserved. */
async function write(path: string, contents: readonly (Buffer | ByteSource)[], mode: number): Promise<void> {
  const target = await realpath(path).catch(() => path);
  await replaceFile(target, contents, mode);
}

function sizeOf(part: Buffer | ByteSource): number {
  return part instanceof Uint8Array ? part.length : part.size;
}
