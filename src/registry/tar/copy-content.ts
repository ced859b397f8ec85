import type { TarEntry } from './entry.ts';

/** Reads the content of an entry into memory of its size. */
export async function copyContent(entry: TarEntry, memory: Buffer): Promise<void> {
  let at = 0;
  for await (const chunk of entry.content()) at += chunk.copy(memory, at);
}
