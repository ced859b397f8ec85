// Where the programs of Kubernetes are.
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';

const cache = join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kmm-sign');

/** kubectl: that of KUBECTL, of `npm run assets`, or of PATH. */
export function kubectl() {
  return env.KUBECTL ?? cached('kubebuilder/bin/kubectl') ?? 'kubectl';
}

/** helm: that of HELM, of `npm run assets`, or of PATH. */
export function helm() {
  return env.HELM ?? cached('bin/helm') ?? 'helm';
}

/** cosign: that of COSIGN, of `npm run assets cosign`, or of PATH. */
export function cosign() {
  return env.COSIGN ?? cached('bin/cosign') ?? 'cosign';
}

function cached(path) {
  const file = join(cache, path);
  return existsSync(file) ? file : undefined;
}
