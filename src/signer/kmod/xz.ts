import { execa, ExecaError } from 'execa';
import { SignerError, damagedModule, moduleTooLarge } from '../model/errors.ts';

/** Limits the decoder's dictionary, so that a hostile file cannot demand gigabytes. */
const decoderMemory = '256MiB';

/** Unpacks xz data with the xz program. @throws SignerError DAMAGED_MODULE, LIMIT_EXCEEDED, PROGRAM_FAILED */
export async function xzDecompress(
  packed: Buffer,
  maxBytes: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  try {
    return await runXz(['--decompress', `--memlimit-decompress=${decoderMemory}`], packed, maxBytes, signal);
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error;
    if (error.isMaxBuffer) throw moduleTooLarge(maxBytes);
    if (error.exitCode === undefined) throw failed(error);
    throw damagedModule('its xz data cannot be unpacked');
  }
}

/**
 * Compresses so that the kernel's decoder can read it: CRC32 as the check and a small dictionary, in one
 * thread so that the bytes are the same on every machine. @throws SignerError PROGRAM_FAILED
 */
export async function xzCompress(bytes: Buffer, signal: AbortSignal | undefined): Promise<Buffer> {
  try {
    const options = ['--compress', '--check=crc32', '--lzma2=preset=6,dict=1MiB', '--threads=1'];
    return await runXz(options, bytes, 2 * bytes.length + 1024 * 1024, signal);
  } catch (error) {
    if (error instanceof ExecaError) throw failed(error);
    throw error;
  }
}

async function runXz(
  options: readonly string[],
  input: Buffer,
  maxBuffer: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const { stdout } = await execa('xz', [...options, '--format=xz', '--stdout', '--quiet'], {
    input,
    encoding: 'buffer',
    stripFinalNewline: false,
    maxBuffer,
    // The user's own options must not change the bytes.
    env: { XZ_DEFAULTS: '', XZ_OPT: '' },
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  });
  return Buffer.from(stdout.buffer, stdout.byteOffset, stdout.byteLength);
}

function failed(error: ExecaError): SignerError {
  const missing = error.code === 'ENOENT';
  return new SignerError({
    code: 'PROGRAM_FAILED',
    message: missing
      ? 'The program xz is not installed, but a module is compressed with it'
      : `xz failed: ${error.shortMessage}`,
    hint: missing
      ? 'Install xz (Debian: xz-utils), or use modules that are not compressed with xz.'
      : undefined,
    facts: { program: 'xz' },
  });
}
