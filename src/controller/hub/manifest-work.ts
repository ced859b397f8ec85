import type { ManagedClusterModule } from '../../api/managed-cluster-module.ts';
import { labelKeys } from '../../builder/labels.ts';
import { labelValue } from '../../builder/names.ts';
import type { CustomResource } from '../cluster/resources.ts';
import { apiVersionOf } from '../runtime/resource.ts';
import { modules } from '../cluster/resources.ts';
import { HubError } from './errors.ts';
import { feedbackJsonPaths } from './feedback.ts';
import { managedClusterModules, manifestWorks } from './resources.ts';
import type { TrimmedModule } from './trimmed-module.ts';

/** Bytes of manifests that Open Cluster Management lets a ManifestWork have. */
export const maxManifestBytes = 512_000;
/** It counts manifests as protobuf has them: these are the bytes around the JSON. */
const manifestEnvelope = 16;
/** Characters that the API server writes as `\u003c` and so on, so that pages may hold its JSON. */
const escapedByGo = /[<>&\u2028\u2029]/g;

/** What a ManifestWork is made from. */
export interface ManifestWorkOptions {
  readonly resource: ManagedClusterModule;
  /** Name of the ManagedCluster. */
  readonly cluster: string;
  readonly module: TrimmedModule;
}

/**
 * The ManifestWork that brings a Module to a cluster. Every field that the API server would fill in is set, so that
 * what it gives back is equal to this.
 * @throws HubError MANIFEST_WORK_TOO_LARGE
 */
export function manifestWork({ resource, cluster, module }: ManifestWorkOptions): CustomResource {
  const { name, uid } = resource.metadata;
  // What the API server would get, without the fields that are undefined.
  const manifest = JSON.stringify(module);
  const bytes = Buffer.byteLength(manifest.replaceAll(escapedByGo, '\\u0000')) + manifestEnvelope;
  if (bytes > maxManifestBytes) throw tooLarge({ name, cluster, bytes });
  return {
    apiVersion: apiVersionOf(manifestWorks),
    kind: manifestWorks.kind,
    metadata: {
      name,
      namespace: cluster,
      labels: manifestWorkLabels(name),
      ownerReferences: [
        {
          apiVersion: apiVersionOf(managedClusterModules),
          kind: managedClusterModules.kind,
          name,
          uid: uid ?? '',
          controller: true,
        },
      ],
    },
    spec: {
      deleteOption: { propagationPolicy: 'Foreground' },
      workload: { manifests: [JSON.parse(manifest) as unknown] },
      manifestConfigs: [
        {
          resourceIdentifier: {
            group: modules.group,
            resource: modules.plural,
            namespace: module.metadata.namespace,
            name: module.metadata.name,
          },
          feedbackRules: [{ type: 'JSONPaths', jsonPaths: feedbackJsonPaths }],
          // The hub's word counts: what somebody changed in the cluster is set right.
          updateStrategy: {
            type: 'ServerSideApply',
            serverSideApply: { fieldManager: 'work-agent', force: true },
          },
        },
      ],
    },
  };
}

/** The labels by which a ManagedClusterModule's ManifestWorks are found. */
export function manifestWorkLabels(managedClusterModule: string): Record<string, string> {
  return { [labelKeys.managedClusterModule]: labelValue(managedClusterModule) };
}

function tooLarge(facts: { name: string; cluster: string; bytes: number }): HubError {
  const { name, cluster, bytes } = facts;
  return new HubError({
    code: 'MANIFEST_WORK_TOO_LARGE',
    message: `The Module of ${name} for the cluster ${cluster} has ${bytes} bytes; Open Cluster Management passes ${maxManifestBytes} on`,
    hint: 'Use fewer kernel mappings: regular expressions in place of literals, or several ManagedClusterModules.',
    facts: { managedClusterModule: name, cluster, bytes, limit: maxManifestBytes },
  });
}
