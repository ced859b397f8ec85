import type { V1CustomResourceColumnDefinition, V1CustomResourceDefinition } from '@kubernetes/client-node';
import type * as z from 'zod';
import { structuralSchema } from './structural-schema.ts';

/** A version of a custom resource. All versions of a resource have the same schema. */
export interface CustomResourceVersion {
  readonly name: string;
  /** Whether objects are stored in this version. Exactly one version is the storage version. */
  readonly storage: boolean;
  readonly deprecated?: boolean;
}

/** The inputs of a CustomResourceDefinition. */
export interface CustomResource {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly versions: readonly CustomResourceVersion[];
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  /** Columns of kubectl get, between name and age. */
  readonly columns: readonly V1CustomResourceColumnDefinition[];
}

const age: V1CustomResourceColumnDefinition = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
};

const apiVersionText = 'The version of the schema of this object.';
const kindText = 'The kind of resource that this object is.';

/** Creates the CustomResourceDefinition of a resource, with a status subresource. */
export function customResourceDefinition(resource: CustomResource): V1CustomResourceDefinition {
  const schema = {
    description: resource.description,
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string', description: apiVersionText },
      kind: { type: 'string', description: kindText },
      metadata: { type: 'object' },
      spec: structuralSchema(resource.spec),
      status: structuralSchema(resource.status),
    },
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${resource.plural}.${resource.group}` },
    spec: {
      group: resource.group,
      scope: resource.scope,
      names: {
        kind: resource.kind,
        listKind: `${resource.kind}List`,
        plural: resource.plural,
        singular: resource.kind.toLowerCase(),
        shortNames: [...resource.shortNames],
        categories: ['kmm'],
      },
      versions: resource.versions.map(({ name, storage, deprecated }) => ({
        name,
        served: true,
        storage,
        ...(deprecated === true ? { deprecated } : {}),
        subresources: { status: {} },
        additionalPrinterColumns: [...resource.columns, age],
        schema: { openAPIV3Schema: schema },
      })),
    },
  };
}
