import type { CachedModule } from '../observe/cluster/caches.ts';
import type { CachedPreflight } from '../observe/cluster/preflights.ts';
import { kernelLabelValue } from '../../builder/labels.ts';
import { parseKernel } from '../../builder/kernel.ts';
import { objectOf, type CacheEvent } from '../runtime/cache/informer.ts';
import type { BackoffLimits } from '../../shared/backoff.ts';
import { Controller, type Reconcile } from '../runtime/controller.ts';
import type { RuntimeMetrics } from '../runtime/metrics.ts';
import type { ObjectKey } from '../runtime/api/object-key.ts';
import { isSameValue } from '../runtime/same-value.ts';
import { PreflightOcpReconciler } from './ocp-reconcile.ts';
import { PreflightReconciler } from './reconcile.ts';
import type { PreflightContext } from './task.ts';

/** Creates one of the controllers. */
type Create = (name: string, reconcile: Reconcile) => Controller;

/** Validations reconciled concurrently: one may have to read many images. */
const maxConcurrent = 4;

/** Creates the controllers of PreflightValidation and PreflightValidationOCP. The caches must run, too. */
export function createPreflightControllers(
  context: PreflightContext,
  metrics?: RuntimeMetrics,
  backoff?: BackoffLimits,
): Controller[] {
  const create = (name: string, reconcile: Reconcile): Controller =>
    new Controller({
      name,
      backoff,
      metrics: metrics?.controller(name, maxConcurrent),
      maxConcurrent,
      log: context.log,
      reconcile,
    });
  return [validationController(context, create), ocpController(context, create)];
}

function validationController(context: PreflightContext, create: Create): Controller {
  const { caches, preflights, references } = context;
  const { validations } = preflights;
  const reconciler = new PreflightReconciler(context);
  const controller = create('preflightvalidation', (key, { signal }) => reconciler.reconcile(key, signal));
  const all = (): ObjectKey[] => validations.list().map(({ key }) => key);
  const ofKernel = (label: string | undefined): ObjectKey[] =>
    validations
      .list()
      .filter(({ object }) => object !== undefined && labelOf(object.spec.kernelVersion) === label)
      .map(({ key }) => key);
  controller.watch(validations, (event) => [event.key, ...ofSameKernel(event, validations.list())]);
  controller.watch(caches.modules, (event) => (isRelevant(event) ? all() : []));
  controller.watch(caches.jobs, (event) => ofKernel(objectOf(event).kernel));
  controller.watch(caches.pods, (event) => {
    const { key, ownerName } = objectOf(event);
    const job =
      ownerName === undefined ? undefined : caches.jobs.get({ namespace: key.namespace, name: ownerName });
    return job === undefined ? [] : ofKernel(job.kernel);
  });
  // Nodes cause no reconciles: if they run the kernel, the status of their Modules changes.
  controller.watch(caches.nodes, () => []);
  references.onChange((users) => {
    for (const user of users) if (user.namespace === undefined) controller.enqueue(user);
  });
  return controller;
}

function ocpController(context: PreflightContext, create: Create): Controller {
  const { validations, validationsOcp } = context.preflights;
  const reconciler = new PreflightOcpReconciler(context);
  const controller = create('preflightvalidationocp', (key, { signal }) => reconciler.reconcile(key, signal));
  controller.watch(validationsOcp);
  controller.watch(validations, ({ key }) => (validationsOcp.get(key) === undefined ? [] : [key]));
  controller.watch(context.caches.nodes, () => []);
  return controller;
}

/** Returns the validations for the kernel that one is for, or was for before. */
function ofSameKernel(
  event: CacheEvent<CachedPreflight>,
  validations: readonly CachedPreflight[],
): ObjectKey[] {
  const versions = [event.type === 'deleted' ? undefined : event.object, previousOf(event)].flatMap(
    (one) => one?.object?.spec.kernelVersion ?? [],
  );
  return validations
    .filter(({ object }) => object !== undefined && versions.includes(object.spec.kernelVersion))
    .map(({ key }) => key);
}

function previousOf<P>(event: CacheEvent<P>): P | undefined {
  return event.type === 'added' ? undefined : event.previous;
}

/** Returns whether something changed that a validation reads. Modules also report on their nodes. */
function isRelevant(event: CacheEvent<CachedModule>): boolean {
  return event.type !== 'updated' || !isSameValue(read(event.previous), read(event.object));
}

function read({ metadata, module }: CachedModule): unknown {
  const { uid, generation, annotations, deletionTimestamp } = metadata;
  const { observedGeneration, kernels } = module?.status ?? {};
  return { uid, generation, annotations, deletionTimestamp, observedGeneration, kernels };
}

function labelOf(release: string): string {
  return kernelLabelValue(parseKernel(release));
}
