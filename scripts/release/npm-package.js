// Makes the npm package, and the commit of the GitHub Action.
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { run } from './run.js';

/** Packs the npm package, and returns the path of its archive. */
export function makePackage({ root, output, version, env }) {
  const folder = join(output, 'npm');
  mkdirSync(folder);
  run(execPath, [join(root, 'scripts/pack.js'), folder], { cwd: root, env });
  return join(folder, `kmm-sign-${version}.tgz`);
}

/**
 * Makes the commit that workflows name to use the GitHub Action: the released one with the built step in it, which a runner
 * starts without building anything. It is in this repository, and no branch has it until it is published. Returns its id.
 */
export function makeActionCommit({ root, work, output, version, commit, epoch, env }) {
  const built = join(work, 'action');
  run(
    execPath,
    [join(root, 'scripts/build.js'), '--no-source-maps', '--no-code-cache', `--outdir=${built}`],
    {
      cwd: root,
      env,
    },
  );
  const folder = join(output, 'action');
  mkdirSync(join(folder, 'dist'), { recursive: true });
  copyFileSync(join(root, 'action.yml'), join(folder, 'action.yml'));
  const identity = { name: 'kmm-sign', email: 'maintainers@kmm-sign.example', date: `${epoch} +0000` };
  const people = ['AUTHOR', 'COMMITTER'].flatMap((role) =>
    Object.entries(identity).map(([key, value]) => [`GIT_${role}_${key.toUpperCase()}`, value]),
  );
  const settings = { ...env, ...Object.fromEntries(people), GIT_INDEX_FILE: join(work, 'action-index') };
  const git = (...args) => run('git', args, { cwd: root, env: settings });
  git('read-tree', commit);
  for (const name of readdirSync(built).filter((file) => file.startsWith('action.mjs'))) {
    copyFileSync(join(built, name), join(folder, 'dist', name));
    const blob = git('hash-object', '-w', join(built, name));
    git('update-index', '--add', '--cacheinfo', `100644,${blob},dist/${name}`);
  }
  const tree = git('write-tree');
  return git('commit-tree', tree, '-p', commit, '-m', `Add the built GitHub Action of ${version}`);
}
