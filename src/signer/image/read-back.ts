import type { ImageRepository } from '../../registry/image/repository.ts';
import type { HashAlgorithm } from '../model/hash.ts';
import type { Signer } from '../cms/signer.ts';
import type { BuiltNode } from './build.ts';
import { proveLayer } from './prove.ts';

export interface ReadBackOptions {
  readonly destination: { readonly repository: ImageRepository };
  readonly signer: Signer;
  readonly hash: HashAlgorithm;
  readonly temporaryDirectory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Downloads every layer that was pushed once more, and verifies the modules in it. @throws SignerError VERIFICATION_FAILED */
export async function readBackLayers(node: BuiltNode, options: ReadBackOptions): Promise<void> {
  if (node.type === 'index') for (const child of node.children) await readBackLayers(child, options);
  if (node.type !== 'image') return;
  const { destination, signer, hash, temporaryDirectory, signal } = options;
  for (const { descriptor, entries } of node.layers) {
    const blob = await destination.repository.openBlob(descriptor, { signal });
    await proveLayer(blob, { entries, certificate: signer.certificate, hash, temporaryDirectory });
  }
}
