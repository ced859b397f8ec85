import { customResourceDefinitions } from '../../../src/api/crd/definitions.ts';
import type { Definition } from '../../support/custom-resources.ts';

/** The definition of Module without what KMM's lacks in the status. */
export function moduleDefinitionOfKmm(): Definition {
  const ours = customResourceDefinitions().find(({ spec }) => spec.names.kind === 'Module');
  const text = JSON.stringify(ours, (key, value: unknown) => {
    if (key !== 'status' || typeof value !== 'object' || value === null) return value;
    const { properties, ...rest } = value as { properties?: Record<string, unknown> };
    const { conditions: _conditions, kernels: _kernels, ...kept } = properties ?? {};
    return properties === undefined ? value : { ...rest, properties: kept };
  });
  return JSON.parse(text) as Definition;
}
