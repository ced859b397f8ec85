// Writes the bundles of the Operator Lifecycle Manager, for the operator and for that of a hub, and a catalog with them:
//
//     npm run bundle -- --image REF@sha256:… [--loader-image REF@sha256:…] [--builder-image REF@sha256:…]
//         [--nfd-image REF@sha256:…] [--bundle-registry HOST/PATH] [--bundle-image REF@sha256:…]... [--output DIR]
//
// Everything is written from deploy/, which kubectl (kustomize) renders, and from deploy/olm. Images are pinned by digest.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { env } from 'node:process';
import { parseArgs } from 'node:util';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { catalogOf } from './olm/catalog.js';
import { accountsOf, manifestsOf } from './olm/permissions.js';
import { imageVariables, serviceVersion } from './olm/service-version.js';

const root = resolve(import.meta.dirname, '..');
const deploy = join(root, 'deploy');
const channel = 'stable';
const packages = ['kernel-module-management', 'kernel-module-management-hub', 'nfd'];

const { values: options } = parseArgs({
  options: {
    image: { type: 'string' },
    'builder-image': { type: 'string' },
    'loader-image': { type: 'string' },
    'nfd-image': { type: 'string' },
    'bundle-image': { type: 'string', multiple: true, default: [] },
    'bundle-registry': { type: 'string', default: 'ghcr.io/kmm-sign' },
    output: { type: 'string', default: 'olm' },
  },
});

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const icon = readFileSync(join(deploy, 'olm/icon.svg'));
const operator = pinned('--image', options.image);
/** The images by their roles; those that a package has no use for are left out of it. */
const others = { builder: '--builder-image', loader: '--loader-image', nfd: '--nfd-image' };
const images = {
  operator,
  ...Object.fromEntries(
    Object.entries(others).flatMap(([role, option]) => {
      const image = options[option.slice(2)];
      return image === undefined ? [] : [[role, pinned(option, image)]];
    }),
  ),
};
const output = resolve(options.output);
for (const name of packages) writePackage(name);

/** Refuses an image that could change. */
function pinned(option, image) {
  if (image !== undefined && /@sha256:[0-9a-f]{64}$/.test(image)) return image;
  console.error(
    `bundle: ${option} must name an image with its digest, as in registry.example/kmm-sign@sha256:…`,
  );
  process.exit(2);
}

function writePackage(name) {
  const base = parse(readFileSync(join(deploy, `olm/${name}.yaml`), 'utf8'));
  const more = base.more.map((file) => readFileSync(join(deploy, file), 'utf8'));
  const objects = [kustomize(join(deploy, 'overlays', base.overlay)), ...more].flatMap(documentsIn);
  const created = new Date(Number(env.SOURCE_DATE_EPOCH ?? 0) * 1000).toISOString();
  const csv = serviceVersion({ objects, base, name, version, images: imagesOf(base), icon, now: created });
  const directory = join(output, name);
  // Nothing of an earlier version may stay.
  rmSync(directory, { recursive: true, force: true });
  write(join(directory, `manifests/${name}.clusterserviceversion.yaml`), [csv]);
  for (const definition of objects.filter(({ kind }) => kind === 'CustomResourceDefinition'))
    write(join(directory, `manifests/${definition.metadata.name}.crd.yaml`), [definition]);
  const accounts = accountsOf(objects, (account) => account);
  for (const object of manifestsOf(objects, accounts))
    write(join(directory, `manifests/${object.metadata.name}.${object.kind.toLowerCase()}.yaml`), [object]);
  const annotations = annotationsOf(name);
  write(join(directory, 'metadata/annotations.yaml'), [{ annotations }]);
  write(join(directory, 'tests/scorecard/config.yaml'), [scorecard()]);
  writeFileSync(join(directory, 'bundle.Dockerfile'), dockerfile(annotations));
  const bundle = `${options['bundle-registry']}/${name}-bundle`;
  const made = options['bundle-image'].find((image) => image.startsWith(`${bundle}@`));
  const bundleImage = made === undefined ? `${bundle}:${version}` : pinned('--bundle-image', made);
  const catalog = catalogOf({ name, base, version, channel, bundleImage, csv, icon });
  write(join(output, `catalog/${name}/catalog.yaml`), catalog);
  console.log(`${name}: ${directory}`);
}

/** The images of a package: the operator's, and those that its variables name. */
function imagesOf(base) {
  const roles = ['operator', ...Object.values(base.imageVariables ?? imageVariables)];
  return Object.fromEntries(Object.entries(images).filter(([role]) => roles.includes(role)));
}

function kustomize(directory) {
  const cached = join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kmm-sign/kubebuilder/bin/kubectl');
  const kubectl = env.KUBECTL ?? (existsSync(cached) ? cached : 'kubectl');
  const { status, stdout, stderr, error } = spawnSync(kubectl, ['kustomize', directory], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (error) throw new Error(`kubectl cannot be run (set KUBECTL): ${error.message}`);
  if (status !== 0) throw new Error(`kubectl kustomize ${directory} failed: ${stderr}`);
  return stdout;
}

function documentsIn(text) {
  return parseAllDocuments(text)
    .map((document) => document.toJS())
    .filter((object) => object !== null);
}

function write(file, documents) {
  mkdirSync(dirname(file), { recursive: true });
  const texts = documents.map((one) => stringify(one, { aliasDuplicateObjects: false, lineWidth: 120 }));
  writeFileSync(file, texts.join('---\n'));
}

function annotationsOf(name) {
  const prefix = 'operators.operatorframework.io';
  return {
    [`${prefix}.bundle.mediatype.v1`]: 'registry+v1',
    [`${prefix}.bundle.manifests.v1`]: 'manifests/',
    [`${prefix}.bundle.metadata.v1`]: 'metadata/',
    [`${prefix}.bundle.package.v1`]: name,
    [`${prefix}.bundle.channels.v1`]: channel,
    [`${prefix}.bundle.channel.default.v1`]: channel,
    [`${prefix}.test.mediatype.v1`]: 'scorecard+v1',
    [`${prefix}.test.config.v1`]: 'tests/scorecard/',
    'com.redhat.openshift.versions': 'v4.12',
  };
}

function dockerfile(annotations) {
  const labels = Object.entries(annotations).map(([key, value]) => `LABEL ${key}=${value}`);
  const copies = ['manifests', 'metadata', 'tests/scorecard'].map((from) => `COPY ${from} /${from}/`);
  return ['FROM scratch', ...labels, ...copies, ''].join('\n');
}

function scorecard() {
  const olm = [
    'bundle-validation',
    'crds-have-validation',
    'crds-have-resources',
    'spec-descriptors',
    'status-descriptors',
  ];
  const tests = [
    scorecardTest('basic', 'basic-check-spec'),
    ...olm.map((name) => scorecardTest('olm', `olm-${name}`)),
  ];
  return {
    apiVersion: 'scorecard.operatorframework.io/v1alpha3',
    kind: 'Configuration',
    metadata: { name: 'config' },
    stages: [{ parallel: true, tests }],
  };
}

function scorecardTest(suite, name) {
  return {
    image: 'quay.io/operator-framework/scorecard-test:v1.39.1',
    entrypoint: ['scorecard-test', name],
    labels: { suite, test: `${name}-test` },
  };
}
