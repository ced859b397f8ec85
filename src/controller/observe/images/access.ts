import { createHash } from 'node:crypto';
import type { RegistryTls } from '../../../api/module/registry-tls.ts';
import type { PullSecretContent } from '../../../registry/credentials/pull-secret.ts';

/** How an image may be got at. */
export interface ImageAccess {
  readonly tls: RegistryTls;
  readonly pullSecrets: readonly PullSecretContent[];
}

/** Equal for accesses that are equal. Holds no credentials: it is a hash of them. */
export function accessKey({ tls, pullSecrets }: ImageAccess): string {
  const { insecure = false, insecureSkipTLSVerify = false } = tls;
  const contents = pullSecrets.map(({ key, json, source }) => [source, key, json.reveal()]);
  return createHash('sha256')
    .update(JSON.stringify([insecure, insecureSkipTLSVerify, contents]))
    .digest('hex');
}
