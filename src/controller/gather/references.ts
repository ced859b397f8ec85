import type { CustomResource } from '../observe/cluster/resources.ts';
import { formatKey, type ObjectKey } from '../runtime/api/object-key.ts';

/** An object that a Module refers to. */
export interface Reference {
  /** Of the core group. */
  readonly plural: 'secrets' | 'configmaps' | 'serviceaccounts';
  readonly kind: 'Secret' | 'ConfigMap' | 'ServiceAccount';
  readonly key: ObjectKey & { readonly namespace: string };
  /** Who refers to it, as `KIND NAME`. */
  readonly from: string;
}

/** Fields that name an object, and its kind. */
const targets = {
  imageRepoSecret: { plural: 'secrets', kind: 'Secret' },
  keySecret: { plural: 'secrets', kind: 'Secret' },
  certSecret: { plural: 'secrets', kind: 'Secret' },
  secrets: { plural: 'secrets', kind: 'Secret' },
  dockerfileConfigMap: { plural: 'configmaps', kind: 'ConfigMap' },
  secretName: { plural: 'secrets', kind: 'Secret' },
  serviceAccountName: { plural: 'serviceaccounts', kind: 'ServiceAccount' },
} as const satisfies Readonly<Record<string, Pick<Reference, 'plural' | 'kind'>>>;
type Field = keyof typeof targets;

/** Fields of pods on nodes, which a hub does not have. */
const fieldsOfNodePods: ReadonlySet<string> = new Set<Field>(['secretName', 'serviceAccountName']);

/**
 * Finds what a Module or ManagedClusterModule refers to, also in one that is invalid.
 * @param hubNamespace the operator's namespace, where a hub looks for the objects
 */
export function findReferences(resource: CustomResource, hubNamespace: string): readonly Reference[] {
  const { kind = '', metadata, spec } = resource;
  const { namespace = hubNamespace } = metadata;
  const from = `${kind} ${formatKey(metadata)}`;
  const onHub = metadata.namespace === undefined;
  const found = new Map<string, Reference>();
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit);
    if (typeof value !== 'object' || value === null) return;
    for (const [field, inner] of Object.entries(value)) {
      const target = targetOf(field, onHub);
      if (target !== undefined) {
        for (const name of namesIn(inner)) {
          found.set(`${target.kind} ${name}`, { ...target, key: { namespace, name }, from });
        }
      }
      visit(inner);
    }
  };
  visit(spec);
  return [...found.values()];
}

function targetOf(field: string, onHub: boolean): (typeof targets)[Field] | undefined {
  if (!Object.hasOwn(targets, field) || (onHub && fieldsOfNodePods.has(field))) return undefined;
  return targets[field as Field];
}

/** The names in `NAME`, `{name: NAME}` and a list of these. */
function namesIn(value: unknown): string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  if (Array.isArray(value)) return value.flatMap(namesIn);
  if (typeof value !== 'object' || value === null || !('name' in value)) return [];
  return typeof value.name === 'string' ? namesIn(value.name) : [];
}
