import { Gauge, type Registry } from 'prom-client';
import * as z from 'zod';
import { customResourceDefinitions } from '../../api/crd/definitions.ts';
import { pause } from '../../shared/backoff.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { isApiError } from '../runtime/api/errors.ts';

/** Milliseconds between checks while definitions are outdated. */
const recheckInterval = 60_000;

/** The group of a hub's resources. */
const hubGroup = 'hub.kmm.sigs.x-k8s.io';

/** A definition that is missing, or that lacks fields: KMM's, or one of an earlier version of this operator. */
export interface OutdatedDefinition {
  /** Such as `modules.kmm.sigs.x-k8s.io`. */
  readonly name: string;
  /** Fields that it lacks, such as `status.conditions`; empty if it is missing altogether. */
  readonly missing: readonly string[];
}

/** Describes an outdated definition in a sentence, with the command that updates it. */
export function describeOutdated({ name, missing }: OutdatedDefinition): string {
  const [first, ...others] = missing;
  const more = others.length === 0 ? '' : ` and ${others.length} more fields`;
  const what =
    first === undefined ? 'is missing' : `is of KMM or of an earlier version: it lacks ${first}${more}`;
  const folder = name.endsWith(hubGroup) ? 'hub-crds' : 'crds';
  return `The definition ${name} ${what}. Apply that of this version: kubectl apply --server-side --force-conflicts -k deploy/${folder}`;
}

type Schema = { readonly [keyword: string]: unknown };

const openApi = z.looseObject({
  components: z.looseObject({ schemas: z.record(z.string(), z.looseObject({})) }),
});
const groupVersionKinds = z.array(z.looseObject({ kind: z.string() }));

/** Compares the cluster's definitions with ours. @throws ApiError if the API server does not respond */
export async function findOutdatedDefinitions(
  client: ApiClient,
  of: 'cluster' | 'hub',
  signal?: AbortSignal,
): Promise<OutdatedDefinition[]> {
  const served = new Map<string, Promise<ReadonlyMap<string, Schema>>>();
  const outdated = customResourceDefinitions()
    .filter(({ spec }) => (spec.group === hubGroup) === (of === 'hub'))
    .map(async ({ metadata, spec }) => {
      const storage = spec.versions.find((version) => version.storage);
      const path = `/openapi/v3/apis/${spec.group}/${storage?.name ?? ''}`;
      const kinds = served.get(path) ?? readKinds(client, path, signal);
      served.set(path, kinds);
      const theirs = (await kinds).get(spec.names.kind);
      const ours = storage?.schema?.openAPIV3Schema as Schema | undefined;
      const name = metadata?.name ?? '';
      if (theirs === undefined) return [{ name, missing: [] }];
      const missing = lackingFields(ours ?? {}, theirs, '');
      return missing.length === 0 ? [] : [{ name, missing }];
    });
  return (await Promise.all(outdated)).flat();
}

/** Reads the schemas of a version of a group, by kind. */
async function readKinds(
  client: ApiClient,
  path: string,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<string, Schema>> {
  const response = await client.request({ method: 'GET', path, signal }).catch((error: unknown) => {
    if (isApiError(error, 'NOT_FOUND')) return { components: { schemas: {} } };
    throw error;
  });
  const { schemas } = openApi.parse(response).components;
  return new Map(
    Object.values(schemas).flatMap((schema) => {
      const [found] = groupVersionKinds.safeParse(schema['x-kubernetes-group-version-kind']).data ?? [];
      return found === undefined ? [] : [[found.kind, schema] as const];
    }),
  );
}

/** Returns the paths of fields of ours that a schema does not have; nothing below a missing one. */
function lackingFields(ours: Schema, theirs: Schema, path: string): string[] {
  if (theirs['x-kubernetes-preserve-unknown-fields'] === true) return [];
  const [properties, known] = [childrenOf(ours), childrenOf(theirs)];
  return Object.entries(properties).flatMap(([name, property]) => {
    const at = path === '' ? name : `${path}.${name}`;
    // What every object has is Kubernetes' own.
    if (['apiVersion', 'kind', 'metadata'].includes(at)) return [];
    const other = known[name];
    return other === undefined ? [at] : lackingFields(property, other, at);
  });
}

/** Returns the properties of an object, or of the items of a list. */
function childrenOf(schema: Schema): Readonly<Record<string, Schema>> {
  const { properties, items } = schema;
  if (isSchema(properties)) return properties as Readonly<Record<string, Schema>>;
  return isSchema(items) ? childrenOf(items) : {};
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null;
}

export interface DefinitionsOptions {
  readonly client: ApiClient;
  readonly registry: Registry;
  readonly log: Logger;
  readonly of: 'cluster' | 'hub';
  /** Called with a sentence about each outdated definition, once. */
  readonly onOutdated?: ((sentence: string) => void) | undefined;
  /** Called with a sentence about each that is outdated now: at first, and when that has changed. */
  readonly report?: ((sentences: readonly string[]) => Promise<void>) | undefined;
  /** Milliseconds. @default a minute */
  readonly interval?: number | undefined;
}

/**
 * Checks the definitions at the start, and again while any is outdated: Helm never updates definitions, and
 * without their fields the API server refuses every status. Ends when all are as they should be.
 */
export async function checkDefinitions(options: DefinitionsOptions, signal: AbortSignal): Promise<void> {
  const { client, registry, log, of, onOutdated, report, interval = recheckInterval } = options;
  let outdated: readonly OutdatedDefinition[] = [];
  const name = 'kmm_outdated_definition';
  registry.removeSingleMetric(name);
  void new Gauge({
    name,
    help: 'Definitions that are missing or of another version. The log says how to update them.',
    labelNames: ['definition'] as const,
    registers: [registry],
    collect() {
      this.reset();
      for (const one of outdated) this.set({ definition: one.name }, 1);
    },
  });
  const reported = new Set<string>();
  let before: string | undefined;
  while (!signal.aborted) {
    try {
      outdated = await findOutdatedDefinitions(client, of, signal);
      const sentences = outdated.map(describeOutdated);
      for (const sentence of sentences) {
        if (reported.has(sentence)) continue;
        reported.add(sentence);
        log.warn(sentence);
        onOutdated?.(sentence);
      }
      if (sentences.join('\n') !== before) await report?.(sentences);
      before = sentences.join('\n');
      if (outdated.length === 0) return;
    } catch (error) {
      if (!signal.aborted) log.warn('definitions could not be checked', { error });
    }
    await pause(interval, signal);
  }
}
