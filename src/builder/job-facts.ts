import type { V1OwnerReference } from '@kubernetes/client-node';
import type { PodTemplate } from '../api/module/pod-template.ts';

/** A Secret with registry credentials. */
export interface PullSecret {
  readonly name: string;
  /** @default `.dockerconfigjson` */
  readonly key?: '.dockerconfigjson' | '.dockercfg';
}

/** Authorities that registries' certificates come from. */
export interface TrustedCertificates {
  readonly configMap: string;
  /** Key that holds certificates in PEM. */
  readonly key: string;
}

/** Values of the environment variables of the same name. */
export interface ProxySettings {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
}

/** What Jobs depend on besides the Module. */
export interface JobFacts {
  /** Where the Job runs: the namespace of the Module, on a hub that of the operator. */
  readonly namespace: string;
  readonly owner?: V1OwnerReference;
  /** The work is for whoever wants it: neither its identity nor its name speaks of a Module. */
  readonly shared?: boolean;
  /** The image that does the work, pinned. */
  readonly image: string;
  readonly pullSecrets: readonly PullSecret[];
  readonly trustedCertificates?: TrustedCertificates;
  readonly proxy?: ProxySettings;
  /** The operator's defaults. The Module's settings win. */
  readonly podTemplate?: PodTemplate;
  /** Counts the tries with the same inputs, from 0. */
  readonly attempt: number;
  /** The value of the Module's retry annotation. */
  readonly retry?: string;
}

/** What a build depends on besides the Module. */
export interface BuildFacts extends JobFacts {
  /** Text of the Dockerfile. */
  readonly dockerfile: string;
  /** Key of the ConfigMap that holds it. */
  readonly dockerfileKey: string;
  /** GOARCH of the nodes that will run the image. */
  readonly architecture: string;
  /** Image for DTK_AUTO, where the Dockerfile uses it. */
  readonly driverToolkitImage?: string;
  /** Entries of the Driver Toolkit table that would have helped. */
  readonly driverToolkitMissing?: readonly string[];
  /** The cluster gives pods user namespaces. */
  readonly userNamespaces: boolean;
  /** False: only see whether it builds. */
  readonly push: boolean;
}

/** What signing depends on besides the Module. */
export interface SignFacts extends JobFacts {
  /** Digest of the unsigned image. */
  readonly sourceDigest: string;
  /** SHA-256 of the certificate, in hexadecimal. */
  readonly certificateFingerprint: string;
}

/** Keys of a ConfigMap that may hold the Dockerfile, by preference. */
export const dockerfileKeys = ['dockerfile', 'Dockerfile'] as const;

/** Finds the Dockerfile in the data of a ConfigMap. */
export function findDockerfile(
  data: Readonly<Record<string, string>> | undefined,
): { readonly key: string; readonly text: string } | undefined {
  for (const key of dockerfileKeys) {
    const text = data?.[key];
    if (text !== undefined) return { key, text };
  }
  return undefined;
}
