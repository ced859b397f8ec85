import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { customResourceDefinitions } from '../../src/api/crd/definitions.ts';
import { nfdDefinitions } from '../../src/api/crd/nfd-definitions.ts';
import { manifestFiles } from '../../src/api/crd/manifest-files.ts';

const directory = fileURLToPath(new URL('../../deploy/', import.meta.url));

type Schema = Record<string, unknown>;

/** Every schema inside a schema, with its path. */
function* walk(schema: Schema, path = ''): Generator<[string, Schema]> {
  yield [path, schema];
  for (const [name, property] of Object.entries((schema['properties'] ?? {}) as Record<string, Schema>)) {
    yield* walk(property, `${path}.${name}`);
  }
  for (const keyword of ['items', 'additionalProperties']) {
    const inner = schema[keyword];
    if (typeof inner === 'object' && inner !== null) yield* walk(inner as Schema, `${path}[]`);
  }
}

const schemas = [...customResourceDefinitions(), ...nfdDefinitions()].flatMap((definition) =>
  definition.spec.versions.map((version) => ({
    name: `${definition.spec.names.kind} ${version.name}`,
    // The type of the client lacks the keywords' index.
    schema: version.schema?.openAPIV3Schema as unknown as Schema,
  })),
);

/** What apiextensions.k8s.io/v1 allows in a schema, as far as we use it. */
const allowed = new Set([
  'additionalProperties',
  'default',
  'description',
  'enum',
  'exclusiveMinimum',
  'format',
  'items',
  'maxItems',
  'maximum',
  'minItems',
  'minLength',
  'minimum',
  'properties',
  'required',
  'type',
  'x-kubernetes-int-or-string',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-list-type',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-validations',
]);

describe('the CustomResourceDefinitions', () => {
  it('are committed as the schemas write them (npm run crds)', () => {
    const committed = ['crds', 'hub-crds', 'nfd-crds/openshift', 'chart/kmm-sign/crds'].flatMap((folder) =>
      readdirSync(join(directory, folder)).map((name) => `${folder}/${name}`),
    );
    expect(committed.toSorted()).toEqual(
      manifestFiles()
        .map(({ path }) => path)
        .toSorted(),
    );
    for (const { path, content } of manifestFiles())
      expect(readFileSync(join(directory, path), 'utf8')).toBe(content);
  });

  it.each(schemas)('of $name are structural', ({ schema }) => {
    for (const [path, inner] of walk(schema)) {
      expect([path, ...Object.keys(inner).filter((keyword) => !allowed.has(keyword))]).toEqual([path]);
      const isFree =
        inner['x-kubernetes-preserve-unknown-fields'] === true ||
        inner['x-kubernetes-int-or-string'] === true;
      expect([path, typeof inner['type'] === 'string' || isFree]).toEqual([path, true]);
      expect([path, 'properties' in inner && 'additionalProperties' in inner]).toEqual([path, false]);
    }
  });

  it.each(schemas)('of $name say by what their list maps are keyed, with required keys', ({ schema }) => {
    for (const [, inner] of walk(schema)) {
      if (inner['x-kubernetes-list-type'] !== 'map') continue;
      const items = inner['items'] as { required: string[] };
      expect(items.required).toEqual(expect.arrayContaining(inner['x-kubernetes-list-map-keys'] as string[]));
    }
  });

  it.each(schemas)(
    'of $name bound the lists that rules run over, so that their cost has a bound',
    ({ schema }) => {
      for (const [path, inner] of walk(schema)) {
        const items = inner['items'] as Schema | undefined;
        const hasRules =
          items !== undefined && [...walk(items)].some(([, one]) => 'x-kubernetes-validations' in one);
        expect([path, !hasRules || typeof inner['maxItems'] === 'number']).toEqual([path, true]);
      }
    },
  );

  it('give one stored version each, a status, and columns that explain', () => {
    for (const { spec } of customResourceDefinitions()) {
      expect(spec.versions.filter(({ storage }) => storage)).toHaveLength(1);
      for (const version of spec.versions) {
        expect(version.subresources).toEqual({ status: {} });
        const columns = version.additionalPrinterColumns?.map(({ name }) => name);
        // What only the operator writes has no conditions: it is KMM's, for programs.
        const isForPrograms = spec.names.kind === 'NodeModulesConfig';
        const expected = isForPrograms ? ['Age'] : ['Ready', 'Reason', 'Message', 'Age'];
        expect(columns).toEqual(expect.arrayContaining(expected));
      }
    }
  });

  it('describe every field of a Module that a user sets', () => {
    const [found] = schemas.filter(({ name }) => name === 'Module v1beta1');
    const paths = new Map(walk(found?.schema ?? {}));
    for (const path of [
      '.spec.moduleLoader.container.modprobe.dirName',
      '.spec.selector',
      '.status.kernels',
    ]) {
      expect([path, paths.get(path)?.['description']]).toEqual([path, expect.any(String)]);
    }
    expect(paths.get('.spec.moduleLoader.container.modprobe.dirName')?.['default']).toBe('/opt');
  });
});
