import * as z from 'zod';
import type { CachedBootModule } from './cache.ts';
import type { CustomResource, FullMetadata } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { isServed } from '../runtime/api/discovery.ts';
import { ignoreNotFound, isApiError } from '../runtime/api/errors.ts';
import type { Resource } from '../runtime/api/resource.ts';
import { disruptionPoliciesOf, ignitionOf, isLoadUnit, type BootTask } from './machine-config.ts';

/** The object of OpenShift whose policies say what a change of nodes' configuration does to them. */
const configurationKey = { name: 'cluster' } as const;

const machineConfigurations: Resource<CustomResource> = {
  group: 'operator.openshift.io',
  version: 'v1',
  plural: 'machineconfigurations',
  kind: 'MachineConfiguration',
  namespaced: false,
};

/** The configurations of nodes of OpenShift. */
export const machineConfigs: Resource<CustomResource> = {
  group: 'machineconfiguration.openshift.io',
  version: 'v1',
  plural: 'machineconfigs',
  kind: 'MachineConfig',
  namespaced: false,
};

/** Annotation of a MachineConfig: NAMESPACE/NAME of the BootModuleConfig that it is written for. */
export const ownerAnnotation = 'kmm.sigs.x-k8s.io/boot-module-config';
const poolLabel = 'machineconfiguration.openshift.io/role';

const unitsOfConfig = z.looseObject({
  config: z.looseObject({
    systemd: z.looseObject({ units: z.array(z.looseObject({ name: z.string() })) }),
  }),
});
const policiesInForce = z.looseObject({
  nodeDisruptionPolicyStatus: z.looseObject({
    clusterPolicies: z
      .looseObject({
        units: z.array(z.looseObject({ name: z.string() })).default([]),
        files: z.array(z.looseObject({ path: z.string() })).default([]),
      })
      .prefault({}),
  }),
});

/** Returns whether the cluster has MachineConfigs: whether it is OpenShift. @throws ApiError */
export function servesMachineConfigs(client: ApiClient, signal: AbortSignal): Promise<boolean> {
  return isServed(client, machineConfigs, signal);
}

/** Returns whose MachineConfig one is, as far as it matters to who wants to write it. */
export function holderOf({ metadata, spec }: CustomResource): { readonly owner?: string } | 'foreign' {
  const owner = metadata.annotations?.[ownerAnnotation];
  if (owner !== undefined) return { owner };
  const units = unitsOfConfig.safeParse(spec).data?.config.systemd.units ?? [];
  return units.some(({ name }) => isLoadUnit(name)) ? {} : 'foreign';
}

/** Returns a MachineConfig; undefined if it does not exist. @throws ApiError */
export async function readMachineConfig(
  client: ApiClient,
  name: string,
  signal: AbortSignal,
): Promise<CustomResource | undefined> {
  return client.get(machineConfigs, { name }, { signal }).catch(ignoreNotFound);
}

/** Writes the MachineConfig of a BootModuleConfig. @throws ApiError */
export async function writeMachineConfig(
  client: ApiClient,
  { key }: CachedBootModule,
  task: BootTask,
  signal: AbortSignal,
): Promise<void> {
  const { machineConfigName: name, machineConfigPoolName } = task.spec;
  const metadata = {
    name,
    labels: { [poolLabel]: machineConfigPoolName },
    annotations: { [ownerAnnotation]: `${key.namespace}/${key.name}` },
  };
  const object = { metadata, spec: { config: ignitionOf(task) } };
  await client.apply(machineConfigs, object, { force: true, signal });
}

/**
 * Has nodes take a MachineConfig up without booting. Returns whether that is in force yet; also true where
 * OpenShift does not know such policies. @throws ApiError CONFLICT if somebody has set other actions
 */
export async function writePolicies(
  client: ApiClient,
  { metadata, object }: CachedBootModule,
  signal: AbortSignal,
): Promise<boolean> {
  if (object === undefined) return true;
  const policies = disruptionPoliciesOf(object.spec);
  const applied = await client
    .apply(
      machineConfigurations,
      { metadata: configurationKey, spec: { nodeDisruptionPolicy: policies } },
      { fieldManager: managerOf(metadata), signal },
    )
    .catch(ignoreUnknownPolicies);
  const inForce = policiesInForce.safeParse(applied?.status).data?.nodeDisruptionPolicyStatus.clusterPolicies;
  if (inForce === undefined) return true;
  const [units, files] = [inForce.units.map(({ name }) => name), inForce.files.map(({ path }) => path)];
  return (
    policies.units.every(({ name }) => units.includes(name)) &&
    policies.files.every(({ path }) => files.includes(path))
  );
}

/** Takes back the policies of a BootModuleConfig that no other one shares. @throws ApiError */
export async function removePolicies(
  client: ApiClient,
  metadata: FullMetadata,
  signal: AbortSignal,
): Promise<void> {
  const present = await client.get(machineConfigurations, configurationKey, { signal }).catch(ignoreNotFound);
  if (present === undefined) return;
  const options = { fieldManager: managerOf(metadata), signal };
  await client.apply(machineConfigurations, { metadata: configurationKey, spec: {} }, options);
}

/** Each has a name of its own for the API server, which keeps count of who wants a policy. */
function managerOf({ uid = '' }: FullMetadata): string {
  return `kmm-operator-boot-${uid}`;
}

/** OpenShift before 4.17 has no MachineConfiguration, or none with policies. */
function ignoreUnknownPolicies(error: unknown): undefined {
  const isUnknown =
    isApiError(error, 'NOT_FOUND') ||
    (isApiError(error) && /field not declared in schema/.test(error.message));
  if (!isUnknown) throw error;
}
