import type { BootModuleConfigStatus } from '../../api/boot-module-config.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import { toConditions, type Finding } from '../module/conditions.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { ignoreOutdated, isApiError } from '../runtime/api/errors.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import type { ReconcileResult } from '../runtime/controller.ts';
import { addFinalizer, isBeingDeleted, removeFinalizer } from '../runtime/finalizers.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { bootModuleConfigs, type BootModuleCache, type CachedBootModule } from './cache.ts';
import {
  holderOf,
  readMachineConfig,
  removePolicies,
  servesMachineConfigs,
  writeMachineConfig,
  writePolicies,
} from './machine-configs.ts';

/** Holds a BootModuleConfig until its policies are taken back. KMM's name: those of KMM are released too. */
const finalizer = 'kmm.node.kubernetes.io/bmc-finalizer';

/** Milliseconds until a cluster without MachineConfigs is asked for them again. */
const recheckInterval = 600_000;
/** Milliseconds until the Machine Config Operator is asked again whether it has taken policies up. */
const policyInterval = 5000;

/** The services for BootModuleConfigs. */
export interface BootModuleContext {
  readonly client: ApiClient;
  readonly bootModules: BootModuleCache;
  /** The default of `workerImage`. */
  readonly loaderImage: string | undefined;
  readonly now?: (() => number) | undefined;
}

/** What has come of a BootModuleConfig. */
interface Outcome extends ReconcileResult {
  readonly isReady?: boolean;
  readonly reason: string;
  readonly message: string;
}

/** Writes the MachineConfig of a BootModuleConfig, and says in its status what has come of it. @throws ApiError */
export async function reconcileBootModule(
  context: BootModuleContext,
  key: ObjectKey,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const { client, bootModules } = context;
  const cached = bootModules.get(key);
  if (cached === undefined) return {};
  if (isBeingDeleted(cached)) {
    if (cached.metadata.finalizers?.includes(finalizer) !== true) return {};
    if (await servesMachineConfigs(client, signal)) await removePolicies(client, cached.metadata, signal);
    await removeFinalizer(client, bootModuleConfigs, cached, finalizer, { signal }).catch(ignoreOutdated);
    return {};
  }
  const { requeueAfter, ...outcome } = await write(context, cached, signal);
  await report(context, cached, outcome, signal);
  return { requeueAfter };
}

async function write(
  { client, bootModules, loaderImage }: BootModuleContext,
  cached: CachedBootModule,
  signal: AbortSignal,
): Promise<Outcome> {
  const { object, problem, key } = cached;
  if (object === undefined || problem !== undefined) {
    return { reason: 'InvalidBootModuleConfig', message: problem ?? '' };
  }
  const workerImage = nonEmpty(object.spec.workerImage) ?? loaderImage;
  if (workerImage === undefined) return { reason: 'WorkerImageUnknown', message: noWorkerImage };
  if (!(await servesMachineConfigs(client, signal))) {
    return { reason: 'NotOpenShift', message: notOpenShift, requeueAfter: recheckInterval };
  }
  const { spec } = object;
  const name = spec.machineConfigName;
  const present = await readMachineConfig(client, name, signal);
  const holder = present === undefined ? {} : holderOf(present);
  if (holder === 'foreign') {
    const message = `The MachineConfig ${name} exists and loads no module at boot, so it is left alone. Set machineConfigName to another name.`;
    return { reason: 'ForeignMachineConfig', message };
  }
  const { owner = '' } = holder;
  if (owner !== `${key.namespace}/${key.name}` && isPresent(bootModules, owner)) {
    const message = `The MachineConfig ${name} is that of the BootModuleConfig ${owner}. Set machineConfigName to another name.`;
    return { reason: 'MachineConfigInUse', message };
  }
  await addFinalizer(client, bootModuleConfigs, cached, finalizer, { signal });
  try {
    // Before the MachineConfig: otherwise the Machine Config Operator boots the nodes for it.
    if (!(await writePolicies(client, cached, signal))) {
      return { reason: 'WaitingForPolicies', message: waitingForPolicies, requeueAfter: policyInterval };
    }
    await writeMachineConfig(client, cached, { spec, workerImage }, signal);
  } catch (error) {
    if (!isApiError(error, 'CONFLICT', 'INVALID', 'FORBIDDEN')) throw error;
    return { reason: 'NotWritten', message: error.message, requeueAfter: recheckInterval };
  }
  const message = `The MachineConfig ${name} is written. Nodes of the pool ${spec.machineConfigPoolName} load ${spec.kernelModuleName} from the next time they boot, from ${spec.kernelModuleImage} with the tag of their kernel.`;
  return { isReady: true, reason: 'Written', message };
}

const noWorkerImage =
  'The operator has no image to load modules with. Set workerImage here, or loader.image in its configuration, or RELATED_IMAGE_SIGN in its environment.';
const notOpenShift =
  'This cluster has no MachineConfigs (machineconfiguration.openshift.io), so a module cannot be loaded at boot this way: that takes OpenShift. A Module loads it once the node has joined the cluster.';
const waitingForPolicies =
  'The Machine Config Operator has not taken up the policies yet that let nodes change without booting (MachineConfiguration cluster, status.nodeDisruptionPolicyStatus)';

function isPresent(bootModules: BootModuleCache, owner: string): boolean {
  return bootModules.list().some(({ key }) => `${key.namespace}/${key.name}` === owner);
}

async function report(
  { client, now = Date.now }: BootModuleContext,
  { key, metadata, object }: CachedBootModule,
  { isReady = false, reason, message }: Outcome,
  signal: AbortSignal,
): Promise<void> {
  const { generation } = metadata;
  const findings: Finding[] = [{ type: 'Ready', status: isReady ? 'True' : 'False', reason, message }];
  const status: BootModuleConfigStatus = {
    observedGeneration: generation,
    configStatus: reason,
    conditions: toConditions(findings, {
      earlier: object?.status?.conditions,
      generation,
      now: new Date(now()).toISOString(),
    }),
  };
  if (isSameValue(status, object?.status)) return;
  const options = { subresource: 'status', force: true, signal };
  await client.apply(bootModuleConfigs, { metadata: key, status }, options).catch(ignoreOutdated);
}
