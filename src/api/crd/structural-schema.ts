import * as z from 'zod';

/** A schema in the form of apiextensions.k8s.io/v1 (JSONSchemaProps). */
export type StructuralSchema = { readonly [keyword: string]: unknown };

/**
 * Converts a zod schema to the structural schema that CustomResourceDefinitions require: no references, a
 * type at every level, no keywords that Kubernetes forbids. Keywords of `.meta()` are kept.
 */
export function structuralSchema(schema: z.ZodType): StructuralSchema {
  const { $schema: _dialect, ...written } = z.toJSONSchema(schema, {
    io: 'input',
    reused: 'inline',
    cycles: 'throw',
  });
  return convert(written);
}

function convert(schema: StructuralSchema): StructuralSchema {
  if (schema['x-kubernetes-int-or-string'] === true) {
    const { anyOf: _alternatives, ...rest } = schema;
    return rest;
  }
  if (Object.keys(schema).every((keyword) => keyword === 'description' || keyword.startsWith('x-'))) {
    return { ...schema, 'x-kubernetes-preserve-unknown-fields': true };
  }
  const converted = Object.entries(schema).flatMap(([keyword, value]) => convertKeyword(keyword, value));
  return Object.fromEntries(converted);
}

function convertKeyword(keyword: string, value: unknown): [string, unknown][] {
  switch (keyword) {
    // The keys of an object are always strings.
    case 'propertyNames':
      return [];
    case 'const':
      return [['enum', [value]]];
    case 'properties':
      return [[keyword, mapValues(value)]];
    case 'items':
      return [[keyword, convert(asSchema(value))]];
    case 'additionalProperties':
      return isOpen(value)
        ? [['x-kubernetes-preserve-unknown-fields', true]]
        : [[keyword, convert(asSchema(value))]];
    case 'minimum':
    case 'exclusiveMinimum':
    case 'maximum':
      return convertBound(keyword, value);
    default:
      return [[keyword, value]];
  }
}

/** Converts a bound; omits those of the numbers of JavaScript. An exclusive one is a flag in Kubernetes. */
function convertBound(keyword: string, value: unknown): [string, unknown][] {
  if (typeof value !== 'number') return [];
  if (Math.abs(value) === Number.MAX_SAFE_INTEGER) return [];
  return keyword === 'exclusiveMinimum'
    ? [
        ['minimum', value],
        [keyword, true],
      ]
    : [[keyword, value]];
}

function isOpen(value: unknown): boolean {
  return value === true || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}

function asSchema(value: unknown): StructuralSchema {
  if (typeof value === 'object' && value !== null) return { ...value };
  throw new TypeError('A JSON Schema is not an object here');
}

function mapValues(value: unknown): StructuralSchema {
  return Object.fromEntries(
    Object.entries(asSchema(value)).map(([name, property]) => [name, convert(asSchema(property))]),
  );
}
