// Bundles the programs and the library into dist/, with shared and lazily loaded chunks, and the GitHub Action into one
// file:
//
//     node scripts/build.js [--clean] [--no-source-maps] [--outdir FOLDER]
//
// --clean deletes files of earlier builds at once. metafile.json, next to the bundles, lists what is in them
// and why; tests read it, and so does https://esbuild.github.io/analyze/.
import { existsSync } from 'node:fs';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { buildInfo } from './build-info.js';

const { values: given } = parseArgs({
  options: {
    clean: { type: 'boolean', default: false },
    'no-source-maps': { type: 'boolean', default: false },
    outdir: { type: 'string' },
  },
});
const root = resolve(import.meta.dirname, '..');
const outdir = given.outdir === undefined ? join(root, 'dist') : resolve(given.outdir);

const entryPoints = {
  cli: 'src/cli/main.ts',
  operator: 'src/cli/operator/main.ts',
  index: 'src/index.ts',
  // Runs in a thread.
  'password-worker': 'src/registry/server/password-worker.ts',
  // Programs of pods, which the operator reads.
  loader: 'src/controller/module/loading/loader.sh',
  'copy-image': 'src/controller/module/loading/copy-image.sh',
};
// An import statement reads every property of a built-in module, and some of these load more than all the
// rest: undici, MIME types, reports. HTTP/2, which got would load needlessly, is never used.
const lazyBuiltIns = {
  name: 'lazy-built-ins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(?:node:)?[a-z0-9_/]+$/ }, ({ path, kind }) => {
      if (!isBuiltin(path)) return undefined;
      const name = path.replace(/^(?:node:)?/, 'node:');
      // What is imported with import() is already lazy, and needs the names that only the real module
      // exports.
      return kind === 'dynamic-import'
        ? { path: name, external: true }
        : { path: name, namespace: 'built-in' };
    });
    onLoad({ filter: /.*/, namespace: 'built-in' }, ({ path }) => ({
      contents:
        path === 'node:http2'
          ? 'module.exports = { constants: {}, Http2ServerResponse: class {} };'
          : `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
      loader: 'js',
    }));
  },
};

// Only kubeconfigs and their authentication are used of the Kubernetes client. They refer to the client
// generated from the API, which has 5 MB, and to undici, with which that client would send its requests.
const leftOut = {
  name: 'left-out',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(?:undici|\.\/gen\/index\.js|\.\/middleware\.js)$/ }, ({ path, importer }) =>
      importer.endsWith('/@kubernetes/client-node/dist/config.js')
        ? { path, namespace: 'left-out' }
        : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'left-out' }, () => ({
      contents: ['Agent', 'ProxyAgent', 'createConfiguration', 'ServerConfiguration', 'setHeaderMiddleware']
        .map(
          (name) => `export function ${name}() { throw new Error('the generated client is not bundled'); }`,
        )
        .join('\n'),
    }));
  },
};

/**
 * The oldest Node that the bundles run on. bin/launch.js looks for a newer one; users of the library may not
 * have one.
 */
const oldestNode = 24;
const requireNode =
  `if(parseInt(process.versions.node)<${oldestNode})` +
  `throw new Error('kmm-sign needs Node ${oldestNode} or newer, this is '+process.version);`;

/** What all bundles have in common. */
const common = {
  plugins: [lazyBuiltIns, leftOut],
  // got checks whether a body is FormData, and the global would load undici; none of our bodies is.
  define: { FormData: 'WeakRef', kmmSignBuild: JSON.stringify(buildInfo(root)) },
  absWorkingDir: root,
  metafile: true,
  outdir,
  loader: { '.sh': 'copy' },
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  // An older Node must get as far as the first line of a file, which reports what is needed.
  supported: { using: false },
  // Names are kept for stack traces.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
  logLevel: 'warning',
  // Some dependencies are CommonJS and load built-in modules with require().
  banner: {
    js: requireNode + "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);",
  },
};

const { metafile } = await build({
  ...common,
  entryPoints: Object.fromEntries(Object.entries(entryPoints).filter(([, file]) => existsSync(file))),
  splitting: true,
  sourcemap: given['no-source-maps'] ? false : 'linked',
});
// A runner checks out a tag and starts one file, which must find all that it needs in itself.
const { metafile: actionMetafile } = await build({
  ...common,
  entryPoints: { action: 'src/cli/github-action/main.ts' },
  outExtension: { '.js': '.mjs' },
});

await writeFile(join(outdir, 'metafile.json'), JSON.stringify(metafile));

// A CommonJS chunk imported with import() exports only `default`: its names would be undefined.
const nameless = Object.values(metafile.outputs)
  .map(({ entryPoint }) => entryPoint)
  .filter((file) => file !== undefined && metafile.inputs[file]?.format === 'cjs');
if (nameless.length > 0) throw new Error(`import() of CommonJS loses its names: ${nameless.join(', ')}`);

// Files of earlier builds are removed, but not at once: a running program may still load them.
const millisecondsToKeep = given.clean ? 0 : 10 * 60 * 1000;
const outputs = [metafile, actionMetafile].flatMap((one) => Object.keys(one.outputs));
const made = new Set(['metafile.json', ...outputs.map((file) => basename(file))]);
for (const name of await readdir(outdir)) {
  const file = join(outdir, name);
  if (made.has(name) || name === '.compile-cache') continue;
  const { mtimeMs } = await stat(file);
  if (Date.now() - mtimeMs >= millisecondsToKeep) await rm(file, { recursive: true, force: true });
}
