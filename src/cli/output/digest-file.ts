import { writeFile } from 'node:fs/promises';
import type { Digest } from '../../registry/digest.ts';

/** Writes a digest to the file of `--digest-file`, without a newline, as Tekton wants results. */
export async function writeDigestFile(file: string | undefined, digest: Digest | null): Promise<void> {
  if (file !== undefined && digest !== null) await writeFile(file, digest);
}
