import type { X509Certificate } from 'node:crypto';
import { bufferSource } from '../../../src/shared/byte-source.ts';
import { verifyModule } from '../../../src/signer/kmod/verify-module.ts';

/** Whether a module loads, and the error that insmod gets, where that is known. */
export interface Judgement {
  readonly loads: boolean;
  readonly error: string | null;
}

/** What insmod gets for those that a kernel without enforcement forgives. */
const forgiven: ReadonlySet<string> = new Set(['ENOKEY', 'ENOPKG']);

/** Our verdict on a module in terms of insmod's. An error that it does not name is taken from `kernel`. */
export async function judgementOf(
  module: Buffer | undefined,
  certificates: readonly X509Certificate[],
  kernel: string | null,
): Promise<Judgement & { readonly problem: string | null }> {
  if (module === undefined) throw new Error('there is no such variant');
  const { state, problem } = await verifyModule(bufferSource(module), certificates);
  const [, said = null] = /answer (\w+)\)/.exec(problem ?? '') ?? [];
  const error = said !== null && forgiven.has(said) ? 'EKEYREJECTED' : said;
  return { loads: state === 'trusted', error: error ?? kernel, problem };
}
