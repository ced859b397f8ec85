import { mkdir, readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startRegistry } from '../../registry/server/server.ts';
import { createTemporaryDirectory } from '../../shared/temporary.ts';
import { runDemo } from '../demo/story.ts';
import type { Session } from '../session/session.ts';

/** The module shipped with the package, relative to the built program. */
const moduleFile = fileURLToPath(new URL('../fixtures/hello/hello.ko', import.meta.url));

/** Runs the demonstration on the embedded registry. Fails if a step does not do what it claims. */
export async function demo(
  { keep }: { readonly keep?: string | undefined },
  session: Session,
): Promise<void> {
  const module = await readFile(moduleFile);
  await using temporary = await createTemporaryDirectory();
  const directory = keep === undefined ? temporary.path : resolve(keep);
  await mkdir(directory, { recursive: true });
  const registry = await startRegistry({ root: `${directory}/registry`, logger: session.logger });
  try {
    await runDemo({ address: registry.address, directory, module, kept: keep !== undefined, session });
  } finally {
    await registry.close();
  }
}
