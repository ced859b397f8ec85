// Bundles the programs and the library into dist/, and the GitHub Action into one file:
//
//     node scripts/build.js [--clean] [--no-source-maps] [--no-code-cache] [--outdir FOLDER]
//
// The command line is one file, cli.cjs, with its compiled code beside it (scripts/code-cache.js); large packages that
// few runs need are files of their own. The operator and the library share chunks, some of them loaded lazily.
//
// --clean deletes files of earlier builds at once. metafile.json, next to the bundles, lists what is in them
// and why; tests read it, and so does https://esbuild.github.io/analyze/.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { lazyBuiltIns, leftOut, oldestNode, publishedNode, separately } from './build/plugins.js';
import { buildInfo } from './build-info.js';

const { values: given } = parseArgs({
  options: {
    clean: { type: 'boolean', default: false },
    'no-source-maps': { type: 'boolean', default: false },
    'no-code-cache': { type: 'boolean', default: false },
    outdir: { type: 'string' },
  },
});
const root = resolve(import.meta.dirname, '..');
const outdir = given.outdir === undefined ? join(root, 'dist') : resolve(given.outdir);
const sourcemap = given['no-source-maps'] ? false : 'linked';

/** bin/launch.js looks for a newer Node than this; users of the library may not have one. */
const requireNode =
  `if(parseInt(process.versions.node)<${oldestNode})` +
  `throw new Error('kmm-sign needs Node ${oldestNode} or newer, this is '+process.version);`;

/** What all bundles have in common. */
const common = {
  define: {
    // got checks whether a body is one of these, and the globals would load undici and web streams; none of ours is.
    FormData: 'WeakRef',
    ReadableStream: 'WeakRef',
    kmmSignBuild: JSON.stringify(buildInfo(root)),
    // got's assertions list types in their messages. Making a list format reads the data of languages.
    'Intl.ListFormat': '__ListFormat',
  },
  absWorkingDir: root,
  metafile: true,
  outdir,
  loader: { '.sh': 'copy' },
  bundle: true,
  platform: 'node',
  target: `node${oldestNode}`,
  // An older Node must get as far as the first line of a file, which reports what is needed.
  supported: { using: false },
  // Names are kept for stack traces.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
  logLevel: 'warning',
};

const listFormat = "class __ListFormat{format(list){return[...list].join(', ')}}";

/** Bundles with import and export. Some dependencies are CommonJS and load built-in modules with require(). */
const modules = {
  ...common,
  plugins: [leftOut, lazyBuiltIns()],
  format: 'esm',
  banner: {
    js: `${requireNode}${listFormat}import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);`,
  },
};

/** Bundles of which V8 can be given the compiled code. */
const scripts = {
  ...common,
  plugins: [leftOut, lazyBuiltIns()],
  format: 'cjs',
  // Compiled code cannot say how to import; require() does.
  supported: { ...common.supported, 'dynamic-import': false },
  outExtension: { '.js': '.cjs' },
  banner: { js: listFormat },
  sourcemap,
};

/** Packages of the command line that few runs need. None of them shares a class with the rest. */
const seldomNeeded = {
  '@kubernetes/client-node/dist/config.js': 'kubeconfig',
  '@noble/curves/nist.js': 'elliptic-curves',
  bcryptjs: 'bcrypt',
  execa: 'execa',
  'node-forge': 'forge',
};

const built = await Promise.all([
  build({
    ...modules,
    entryPoints: {
      operator: 'src/cli/operator/main.ts',
      index: 'src/index.ts',
      // Runs in a thread.
      'password-worker': 'src/registry/server/password-worker.ts',
      // Programs of pods, which the operator reads.
      loader: 'src/controller/module/loading/loader.sh',
      'copy-image': 'src/controller/module/loading/copy-image.sh',
      'report-trust': 'src/controller/node-trust/report-trust.sh',
    },
    splitting: true,
    sourcemap,
  }),
  build({
    ...scripts,
    plugins: [
      separately(
        Object.fromEntries(Object.entries(seldomNeeded).map(([name, file]) => [name, `${file}.cjs`])),
      ),
      ...scripts.plugins,
    ],
    entryPoints: { cli: 'src/cli/main.ts' },
    banner: {
      js: `${requireNode}${listFormat}const __url=require('node:url').pathToFileURL(__filename).href;`,
    },
    define: { ...common.define, 'import.meta.url': '__url' },
  }),
  build({
    ...scripts,
    // Runs in threads.
    entryPoints: { 'scan-thread': 'src/registry/layer/scan-thread.ts' },
  }),
  build({
    ...scripts,
    entryPoints: Object.fromEntries(Object.entries(seldomNeeded).map(([name, file]) => [file, name])),
  }),
  // A runner checks out a tag and starts one file, which must find all that it needs in itself.
  build({
    ...modules,
    entryPoints: { action: 'src/cli/github-action/main.ts' },
    outExtension: { '.js': '.mjs' },
  }),
]);

const outputs = Object.assign({}, ...built.map(({ metafile }) => metafile.outputs));
const inputs = Object.assign({}, ...built.map(({ metafile }) => metafile.inputs));
await writeFile(join(outdir, 'metafile.json'), JSON.stringify({ inputs, outputs }));

// A CommonJS chunk imported with import() exports only `default`: its names would be undefined.
const [{ metafile }] = built;
const nameless = Object.values(metafile.outputs)
  .map(({ entryPoint }) => entryPoint)
  .filter((file) => file !== undefined && metafile.inputs[file]?.format === 'cjs');
if (nameless.length > 0) throw new Error(`import() of CommonJS loses its names: ${nameless.join(', ')}`);

// Tells whose compiled code is whose: V8 itself compares no more than the length of the source.
const cli = join(outdir, 'cli.cjs');
const digest = createHash('sha256')
  .update(await readFile(cli))
  .digest('hex');
await appendFile(cli, `//${digest}\n`);

// Files of earlier builds are removed, but not at once: a running program may still load them.
const millisecondsToKeep = given.clean ? 0 : 10 * 60 * 1000;
const made = new Set([
  'metafile.json',
  'cli.cjs.cache',
  'cli.cjs.asking.cache',
  ...Object.keys(outputs).map((file) => basename(file)),
]);
for (const name of await readdir(outdir)) {
  const file = join(outdir, name);
  if (made.has(name) || name === '.compile-cache') continue;
  const { mtimeMs } = await stat(file);
  if (Date.now() - mtimeMs >= millisecondsToKeep) await rm(file, { recursive: true, force: true });
}

const node = given['no-code-cache'] ? undefined : publishedNode();
// The demonstration needs its module.
if (node !== undefined && existsSync(join(outdir, '../fixtures/hello/hello.ko'))) {
  for (const command of ['demo', 'resolve']) {
    execFileSync(node, [join(import.meta.dirname, 'code-cache.js'), cli, command], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }
}
