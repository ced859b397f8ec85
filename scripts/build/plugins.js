// What the bundler changes in the bundles, besides joining files.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, resolve } from 'node:path';
import process from 'node:process';

const root = resolve(import.meta.dirname, '../..');

/** The oldest Node that the bundles run on. */
export const oldestNode = 24;

/**
 * The Node that the bundles are for: this one, or that of the npm package `node` where this one is too old;
 * undefined if there is none.
 */
function recentNode() {
  return Number.parseInt(process.versions.node) >= oldestNode ? process.execPath : publishedNode();
}

/** The Node that packages and images come with, which is that of the npm package `node`; if that is not there, this one. */
export function publishedNode() {
  const bundled = join(root, 'node_modules', 'node', 'bin', 'node');
  if (existsSync(bundled)) return bundled;
  return Number.parseInt(process.versions.node) >= oldestNode ? process.execPath : undefined;
}

/**
 * Built-in modules that take a millisecond or more to load and that not every run needs. Each is an object whose
 * functions do not depend on `this`, so that it can be replaced by one that loads it on first use.
 */
const heavyBuiltIns = [
  'child_process',
  'crypto',
  'diagnostics_channel',
  'buffer',
  'dns',
  'dns/promises',
  'fs',
  'fs/promises',
  'http',
  'https',
  'net',
  'os',
  'stream/consumers',
  'stream/promises',
  'timers/promises',
  'tls',
  'util',
  'v8',
  'worker_threads',
  'zlib',
].map((name) => `node:${name}`);

/** Returns the names that each heavy module exports in the Node that the bundles are for. */
function exportedNames() {
  const node = recentNode();
  if (node === undefined) return {};
  const code = `JSON.stringify(Object.fromEntries(${JSON.stringify(heavyBuiltIns)}.map((name) => [name, Object.keys(process.getBuiltinModule(name))])))`;
  return JSON.parse(execFileSync(node, ['--print', code], { encoding: 'utf8' }));
}

/**
 * Loads built-in modules when they are first used: an import statement would load them at once, and read every
 * property of theirs, and some of these load more than all the rest: undici, MIME types, reports. HTTP/2, which got
 * would load needlessly, is never used.
 */
export function lazyBuiltIns() {
  const names = exportedNames();
  return {
    name: 'lazy-built-ins',
    setup({ initialOptions, onResolve, onLoad }) {
      onResolve({ filter: /^(?:node:)?[a-z0-9_/]+$/ }, ({ path, kind }) => {
        if (!isBuiltin(path)) return undefined;
        const name = path.replace(/^(?:node:)?/, 'node:');
        // What is imported with import() is already lazy, and needs the names that only the real module
        // exports.
        return kind === 'dynamic-import' && initialOptions.format === 'esm'
          ? { path: name, external: true }
          : { path: name, namespace: 'built-in' };
      });
      onLoad({ filter: /.*/, namespace: 'built-in' }, ({ path }) => ({
        contents: path === 'node:http2' ? withoutHttp2 : builtIn(path, names[path]),
        loader: 'js',
      }));
    },
  };
}

const withoutHttp2 = 'module.exports = { constants: {}, Http2ServerResponse: class {} };';

/** Returns the code of a module that stands for a built-in one. */
function builtIn(path, names) {
  const load = `process.getBuiltinModule(${JSON.stringify(path)})`;
  if (names === undefined) return `module.exports = ${load};`;
  return `
    let loaded;
    for (const name of ${JSON.stringify(names.join(' '))}.split(' '))
      Object.defineProperty(exports, name, { enumerable: true, get: () => (loaded ??= ${load})[name] });`;
}

/** Stands for a module that is never used. */
function absent(names) {
  return names
    .map((name) =>
      name === 'default'
        ? `export default class { constructor() { throw new Error('not bundled'); } }`
        : `export class ${name} {}`,
    )
    .join('\n');
}

/**
 * What got loads for features that are off in `registry/http/got-transport.ts`: caches of responses and of names,
 * HTTP/2, decompression. It reads a property of TLS for each request, and makes a random number.
 */
const unusedOfGot = [
  { filter: /^cacheable-request$/, contents: absent(['default', 'CacheError']) },
  { filter: /^\.\/utils\/(?:http2-client|dns-cache)\.js$/, contents: absent(['default']) },
  {
    filter: /^node:tls$/,
    contents:
      "export const checkServerIdentity = (...args) => process.getBuiltinModule('node:tls').checkServerIdentity(...args);",
  },
  // For subscribers of a diagnostics channel; there are none.
  { filter: /^node:crypto$/, contents: "export const randomUUID = () => '';" },
  { filter: /^\.\/utils\/decompress-response\.js$/, contents: 'export default (response) => response;' },
];

/**
 * Only kubeconfigs and their authentication are used of the Kubernetes client. They refer to the client generated
 * from the API, which has 5 MB, and to undici, with which that client would send its requests.
 */
const unusedOfKubernetesClient = {
  filter: /^(?:undici|\.\/gen\/index\.js|\.\/middleware\.js)$/,
  contents: ['Agent', 'ProxyAgent', 'createConfiguration', 'ServerConfiguration', 'setHeaderMiddleware']
    .map((name) => `export function ${name}() { throw new Error('the generated client is not bundled'); }`)
    .join('\n'),
};

/** Leaves out what dependencies import and our use of them never reaches. */
export const leftOut = {
  name: 'left-out',
  setup({ onResolve, onLoad }) {
    const replaced = [
      ...unusedOfGot.map((one) => ({
        ...one,
        importer: /\/node_modules\/got\/dist\/source\/core\/[a-z-]+\.js$/,
      })),
      { ...unusedOfKubernetesClient, importer: /\/@kubernetes\/client-node\/dist\/config\.js$/ },
    ];
    for (const { filter, contents, importer: from } of replaced) {
      const namespace = `left-out-${replaced.findIndex((one) => one.filter === filter)}`;
      onResolve({ filter }, ({ path, importer }) => (from.test(importer) ? { path, namespace } : undefined));
      onLoad({ filter: /.*/, namespace }, () => ({ contents }));
    }
  },
};

/**
 * Leaves packages to bundles of their own: what a run seldom needs is not read with the rest.
 * @param {Readonly<Record<string, string>>} files the file of each package, beside the bundle
 */
export function separately(files) {
  return {
    name: 'separately',
    setup({ onResolve }) {
      onResolve({ filter: /^[^./]/ }, ({ path, kind }) =>
        kind !== 'entry-point' && Object.hasOwn(files, path)
          ? { path: `./${files[path]}`, external: true }
          : undefined,
      );
    },
  };
}
