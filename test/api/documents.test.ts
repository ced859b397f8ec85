import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { parseManagedClusterModule } from '../../src/api/managed-cluster-module.ts';
import { parseModule } from '../../src/api/module/module.ts';
import { kernelMapping } from '../../src/api/module/kernel-mapping.ts';
import { checkManagedClusterModule, checkModuleSpec } from '../../src/api/validation/module-spec.ts';
import { findDockerfile } from '../../src/builder/job-inputs.ts';

const directory = fileURLToPath(new URL('../../fixtures/documents/', import.meta.url));

interface Example {
  readonly file: string;
  readonly object: Record<string, unknown>;
}

/** Every object of the examples. */
const examples: Example[] = readdirSync(directory, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.yaml'))
  .flatMap((file) =>
    parseAllDocuments(readFileSync(join(directory, file), 'utf8')).map((document) => {
      const [error] = document.errors;
      if (error !== undefined) throw error;
      return { file, object: document.toJS() as Record<string, unknown> };
    }),
  );

function ofKind(kind: string): Example[] {
  return examples.filter(({ object }) => object['kind'] === kind);
}

function read(file: string): unknown {
  const found = examples.find((example) => example.file === file);
  if (found === undefined) throw new Error(`${file} is missing`);
  return found.object;
}

const accepted = ofKind('Module').filter(({ file }) => !file.includes('4.10.3'));

describe('the examples of the KMM documentation', () => {
  it('are all there', () => {
    expect(ofKind('Module').map(({ file }) => file)).toEqual([
      'openshift-4.12/4.10.3-firmware.yaml',
      'openshift-4.12/4.3.3-module.yaml',
      'openshift-4.12/4.7-sign-prebuilt-image.yaml',
      'openshift-4.12/4.8-build-and-sign.yaml',
    ]);
    expect(ofKind('ManagedClusterModule')).toHaveLength(2);
  });

  it.each(accepted)('accepts the Module in $file as it stands', ({ object }) => {
    const { metadata, spec } = parseModule(object);
    const findings = checkModuleSpec(spec, { ...metadata, namespace: 'default' });
    expect(findings.errors).toEqual([]);
  });

  it('loses no field of the annotated example', () => {
    const example = read('openshift-4.12/4.3.3-module.yaml');
    expect(parseModule(example)).toEqual(example);
  });

  it.each(ofKind('ManagedClusterModule'))('accepts the ManagedClusterModule in $file', ({ object }) => {
    const resource = parseManagedClusterModule(object);
    expect(checkManagedClusterModule(resource)).toEqual({ errors: [], warnings: [] });
  });

  it('refuses the fragment about firmware because it has neither mappings nor selector', () => {
    expect(() => parseModule(read('openshift-4.12/4.10.3-firmware.yaml'))).toThrow(
      /spec\.moduleLoader\.container\.kernelMappings: .*spec\.selector: /,
    );
  });

  it('accepts the kernel mapping of "Building in the cluster"', () => {
    const [mapping] = read('openshift-4.12/4.4.2-kernel-mapping.yaml') as unknown[];
    expect(kernelMapping.parse(mapping)).toEqual(mapping);
  });

  it.each(ofKind('ConfigMap'))('finds the Dockerfile in $file, whatever case its key has', ({ object }) => {
    expect(findDockerfile(object['data'] as Record<string, string>)?.text).toContain(
      'FROM ${DTK_AUTO} as builder',
    );
  });
});

describe('the README of the documents', () => {
  const readme = readFileSync(join(directory, 'README.md'), 'utf8');
  const part = (heading: string): string => readme.slice(readme.indexOf(heading)).split('\n## ')[0] ?? '';
  /** The names in a table's first column, as patterns. */
  const patterns = [...part('## What happens to each YAML').matchAll(/`([^`]+\.yaml)`/g)].map(
    ([, name = '']) =>
      new RegExp(`^(?:openshift-4\\.12/)?${name.replaceAll('.', '\\.').replaceAll('*', '.*')}$`),
  );

  it.each([...new Set(examples.map(({ file }) => file))])('says what happens to %s', (file) => {
    expect(patterns.some((pattern) => pattern.test(file))).toBe(true);
  });

  it('names only tests and documents that exist', () => {
    const commands = part('## What happens to each command');
    const tests = [...commands.matchAll(/`(test\/[^`]+)`/g)].map(([, path = '']) => path);
    const pages = [...readme.matchAll(/\]\(\.\.\/\.\.\/([^)#]+)/g)].map(([, path = '']) => path);
    const missing = [...tests, ...pages].filter((path) => !existsSync(join(directory, '../..', path)));
    expect([tests.length > 5, missing]).toEqual([true, []]);
  });
});
