import {
  parsePreflightValidation,
  parsePreflightValidationOcp,
  type PreflightValidation,
  type PreflightValidationOcp,
} from '../../../api/preflight-validation.ts';
import { kernelLabelValue } from '../../../builder/labels.ts';
import { parseKernel } from '../../../builder/kernel.ts';
import { KmmError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { Informer } from '../../runtime/cache/informer.ts';
import { keyOf, type ObjectKey } from '../../runtime/api/object-key.ts';
import {
  preflightValidations,
  preflightValidationsOcp,
  type CustomResource,
  type FullMetadata,
} from './resources.ts';

/** A preflight validation in the cache: parsed, or with the reason why it is invalid. */
export interface Cached<T> {
  readonly key: ObjectKey;
  readonly metadata: FullMetadata;
  readonly object: T | undefined;
  readonly problem: string | undefined;
}

export type CachedPreflight = Cached<PreflightValidation>;
export type CachedPreflightOcp = Cached<PreflightValidationOcp>;

/** The caches of the validations that administrators request before an upgrade. */
export interface PreflightCaches {
  readonly validations: Informer<CustomResource, CachedPreflight>;
  readonly validationsOcp: Informer<CustomResource, CachedPreflightOcp>;
}

/** Creates the caches. They follow the cluster once they run. */
export function createPreflightCaches(client: ApiClient, log: Logger): PreflightCaches {
  return {
    validations: new Informer({
      client,
      log,
      resource: preflightValidations,
      project: (resource: CustomResource) => project(resource, parsePreflightValidation),
    }),
    validationsOcp: new Informer({
      client,
      log,
      resource: preflightValidationsOcp,
      project: (resource: CustomResource) => project(resource, parsePreflightValidationOcp),
    }),
  };
}

function project<T>(resource: CustomResource, parse: (resource: CustomResource) => T): Cached<T> {
  const { metadata } = resource;
  try {
    return { key: keyOf(resource), metadata, object: parse(resource), problem: undefined };
  } catch (error) {
    if (!(error instanceof KmmError)) throw error;
    return { key: keyOf(resource), metadata, object: undefined, problem: error.message };
  }
}

/** Returns the kernel that a validation is for; undefined if it is invalid or being deleted. */
export function requestedKernel({ metadata, object }: CachedPreflight): string | undefined {
  return metadata.deletionTimestamp === undefined ? object?.spec.kernelVersion : undefined;
}

/** Returns the label values of the kernels under validation: Jobs for these belong to the validations. */
export function requestedKernels(validations: readonly CachedPreflight[]): ReadonlySet<string> {
  const releases = validations.flatMap((validation) => requestedKernel(validation) ?? []);
  return new Set(releases.map((release) => kernelLabelValue(parseKernel(release))));
}
