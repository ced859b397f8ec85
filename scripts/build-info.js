// What a build is made of: its commit, and the time of that commit, so that the same commit gives the same program.
import { spawnSync } from 'node:child_process';
import { env } from 'node:process';

/**
 * Returns the commit and the time of a build in a folder. KMM_SIGN_COMMIT and SOURCE_DATE_EPOCH (seconds), where they are
 * set, win over git: containers and unpacked archives have no repository. Files that differ from their commit are said.
 */
export function buildInfo(root) {
  const git = (...args) => {
    const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8' });
    return status === 0 ? stdout.trim() : undefined;
  };
  const head = () => {
    // A checkout inside another repository is not of that repository.
    if (git('rev-parse', '--show-prefix') !== '') return undefined;
    const commit = git('rev-parse', 'HEAD');
    if (commit === undefined) return undefined;
    return git('status', '--porcelain', '--untracked-files=no') === '' ? commit : `${commit}-modified`;
  };
  const commit = env.KMM_SIGN_COMMIT || head() || 'unknown';
  const seconds = Number(
    env.SOURCE_DATE_EPOCH || (commit === 'unknown' ? 0 : git('log', '-1', '--format=%ct')),
  );
  if (!Number.isSafeInteger(seconds)) throw new Error('SOURCE_DATE_EPOCH must be a number of seconds');
  return { commit, date: new Date(seconds * 1000).toISOString().replace('.000', '') };
}
