import { type ByteSource, fileSource } from '../../shared/byte-source.ts';
import { asBytes } from '../../shared/chunks.ts';
import type { Secret } from '../../shared/secret.ts';
import type { SignatureMethod } from '../cms/signer.ts';
import { openTemporaryFile, usingTemporaryFiles } from '../files/temporary-files.ts';
import { SignerError } from '../model/errors.ts';

/** The kernel tree's sign-file, and what it reads itself. */
export interface SignFileProgram {
  /** Path of the kernel tree's sign-file. */
  readonly program: string;
  /** A PEM file or a `pkcs11:` URI, which the program reads itself. */
  readonly key: string;
  /** Path of the certificate. */
  readonly certificate: string;
  /** Passed to the program as KBUILD_SIGN_PIN. @default that variable, if set */
  readonly passphrase?: Secret<string> | undefined;
}

/** Milliseconds. Signing a module takes a few of them; a token that waits for a touch takes longer. */
const timeout = 120_000;

/**
 * Signs a module with the kernel tree's sign-file, and returns what it appended: CMS, struct and magic.
 * @param content the module without signatures
 * @param temporaryDirectory directory for temporary files; undefined: the system's
 * @throws SignerError PROGRAM_FAILED, FILE_ERROR
 */
export async function runSignFile(
  signFile: SignFileProgram,
  method: Pick<SignatureMethod, 'hash' | 'identifierForm'>,
  content: ByteSource,
  temporaryDirectory?: string,
  signal?: AbortSignal,
): Promise<Buffer> {
  await using module = await openTemporaryFile(temporaryDirectory);
  await using signed = await openTemporaryFile(temporaryDirectory);
  await usingTemporaryFiles(temporaryDirectory, () => module.handle.writeFile(asBytes(content.stream())));
  const form = method.identifierForm === 'key-identifier' ? ['-k'] : [];
  const modules = [module.path, signed.path].map(pathForOthers);
  await run(signFile, [...form, method.hash, signFile.key, signFile.certificate, ...modules], signal);
  const after = await fileSource(signed.handle);
  return after.read(content.size, after.size - content.size);
}

/** Returns a temporary file's path for another process, for which /proc/self is a different process. */
function pathForOthers(path: string): string {
  return path.replace(/^\/proc\/self\//, `/proc/${process.pid}/`);
}

async function run(
  { program, passphrase }: SignFileProgram,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const { execa, ExecaError } = await import('execa');
  try {
    await execa(program, args, {
      timeout,
      stdin: 'ignore',
      ...(passphrase === undefined ? {} : { env: { KBUILD_SIGN_PIN: passphrase.reveal() } }),
      ...(signal === undefined ? {} : { cancelSignal: signal }),
    });
  } catch (error) {
    if (!(error instanceof ExecaError) || error.isCanceled) throw error;
    throw programFailed(program, error.code, error.stderr, error.exitCode);
  }
}

function programFailed(
  program: string,
  code: unknown,
  stderr: unknown,
  exitCode: number | undefined,
): SignerError {
  if (code === 'ENOENT' || code === 'EACCES') {
    return new SignerError({
      code: 'PROGRAM_FAILED',
      message: `The program ${program} cannot be run (${code})`,
      hint: 'sign-file is in the scripts directory of the kernel headers (Debian: linux-kbuild-6.1).',
      facts: { program },
    });
  }
  const lastLine = String(stderr).trim().split('\n').at(-1)?.slice(0, 500) ?? '';
  return new SignerError({
    code: 'PROGRAM_FAILED',
    message: `${program} failed: ${lastLine === '' ? `exit code ${exitCode ?? 'unknown'}` : lastLine}`,
    facts: { program, exitCode },
  });
}
