/** The keys of the benchmark, made once. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from './images.ts';
import type { ServerKey } from './registry.ts';

/** The RSA-4096 key that everything is signed with. */
export function signingKey(): ServerKey {
  return keyPair('', ['-newkey', 'rsa:4096']);
}

/** The key of the registry with TLS. */
export function serverKey(): ServerKey {
  return keyPair('server-', ['-newkey', 'rsa:2048', '-addext', 'subjectAltName=IP:127.0.0.1']);
}

function keyPair(prefix: string, options: readonly string[]): ServerKey {
  const key = join(cacheDirectory(), `${prefix}key.pem`);
  const cert = join(cacheDirectory(), `${prefix}cert.pem`);
  if (!existsSync(cert)) {
    const words = ['req', '-new', '-x509', ...options, ...'-sha256 -nodes -days 36500'.split(' ')];
    const names = ['-subj', '/CN=kmm-sign benchmark', '-keyout', key, '-out', cert];
    execFileSync('openssl', [...words, ...names], { stdio: 'ignore' });
  }
  return { key, cert };
}
