import type { ManagedClusterModule } from '../../../api/managed-cluster-module.ts';
import { labelKeys } from '../../../builder/labels.ts';
import { labelValue } from '../../../builder/names.ts';
import type { CustomResource } from '../../observe/cluster/resources.ts';
import { apiVersionOf } from '../../runtime/api/resource.ts';
import { modules } from '../../observe/cluster/resources.ts';
import { HubError } from '../fleet/errors.ts';
import { feedbackRules } from '../fleet/feedback.ts';
import { managedClusterModules } from '../fleet/managed-cluster-modules.ts';
import { manifestWorks } from '../fleet/manifest-works.ts';
import { trimmedModule, type KernelImage, type TrimmedModule } from './trimmed-module.ts';
import { specHashOf } from '../fleet/manifest-works.ts';

/** The most bytes of manifests that Open Cluster Management allows in a ManifestWork. */
export const maxManifestBytes = 512_000;
/** It counts manifests encoded as protobuf: these are the bytes around the JSON. */
const manifestEnvelope = 16;
/** Characters that Go's JSON encoder escapes as `\u003c` and so on, so that the JSON is safe in HTML. */
const escapedByGo = /[<>&\u2028\u2029]/g;

/** The desired state of a ManifestWork. */
export interface DesiredManifestWork {
  readonly object: CustomResource;
  /** As `specHashOf` returns it for the API server's response. */
  readonly specHash: string;
}

/** The part that is the same for all clusters with the same images. */
interface Payload {
  readonly spec: object;
  readonly specHash: string;
  readonly bytes: number;
}

/** Caches payloads by their images: in a fleet, many clusters have the same. */
export class PayloadCache {
  #earlier: ReadonlyMap<string, Payload> = new Map();
  #used = new Map<string, Payload>();

  /** Begins another plan. What the one before has not used is forgotten. */
  begin(): void {
    this.#earlier = this.#used;
    this.#used = new Map();
  }

  /** Returns the payload for images, and makes it if neither this plan nor the one before has used it. */
  get(images: readonly KernelImage[], make: () => Payload): Payload {
    const key = JSON.stringify(images.map(({ target, digest }) => [target.kernel.release, digest]));
    const payload = this.#used.get(key) ?? this.#earlier.get(key) ?? make();
    this.#used.set(key, payload);
    return payload;
  }
}

/**
 * Creates the function that returns the ManifestWork for a cluster, given its name and the images of its
 * kernels. Every field that the API server would default is set, so that what it returns is equal. The
 * function throws HubError MANIFEST_WORK_TOO_LARGE.
 */
export function createManifestWorkFactory(
  resource: ManagedClusterModule,
  payloads: PayloadCache = new PayloadCache(),
): (cluster: string, images: readonly KernelImage[]) => DesiredManifestWork {
  const { name } = resource.metadata;
  return (cluster, images) => {
    const { spec, specHash, bytes } = payloads.get(images, () => payloadOf(trimmedModule(resource, images)));
    if (bytes > maxManifestBytes) throw tooLarge({ name, cluster, bytes });
    return { object: { ...headOf(resource, cluster), spec }, specHash };
  };
}

function headOf({ metadata: { name, uid = '' } }: ManagedClusterModule, cluster: string): CustomResource {
  const { kind } = managedClusterModules;
  const owner = { apiVersion: apiVersionOf(managedClusterModules), kind, name, uid, controller: true };
  return {
    apiVersion: apiVersionOf(manifestWorks),
    kind: manifestWorks.kind,
    metadata: { name, namespace: cluster, labels: manifestWorkLabels(name), ownerReferences: [owner] },
  };
}

function payloadOf(module: TrimmedModule): Payload {
  // As the API server receives it, without the fields that are undefined.
  const manifest = JSON.stringify(module);
  const spec = {
    deleteOption: { propagationPolicy: 'Foreground' },
    workload: { manifests: [JSON.parse(manifest) as unknown] },
    manifestConfigs: [
      {
        resourceIdentifier: { group: modules.group, resource: modules.plural, ...module.metadata },
        feedbackRules: [{ type: 'JSONPaths', jsonPaths: feedbackRules(module.spec) }],
        // The hub is authoritative: changes made in the cluster are reverted.
        updateStrategy: {
          type: 'ServerSideApply',
          serverSideApply: { fieldManager: 'work-agent', force: true },
        },
      },
    ],
  };
  return {
    spec,
    specHash: specHashOf({ spec }),
    bytes: Buffer.byteLength(manifest.replaceAll(escapedByGo, '\\u0000')) + manifestEnvelope,
  };
}

/** Returns the labels by which a ManagedClusterModule's ManifestWorks are found. */
export function manifestWorkLabels(managedClusterModule: string): Record<string, string> {
  return { [labelKeys.managedClusterModule]: labelValue(managedClusterModule) };
}

function tooLarge(facts: { name: string; cluster: string; bytes: number }): HubError {
  const { name, cluster, bytes } = facts;
  return new HubError({
    code: 'MANIFEST_WORK_TOO_LARGE',
    message: `The Module of ${name} for the cluster ${cluster} has ${bytes} bytes, and the limit of Open Cluster Management is ${maxManifestBytes}`,
    hint: 'Use fewer kernel mappings: regular expressions in place of literals, or several ManagedClusterModules.',
    facts: { managedClusterModule: name, cluster, bytes, limit: maxManifestBytes },
  });
}
