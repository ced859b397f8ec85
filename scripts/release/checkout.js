// What is released: a commit, whose checkout has nothing else in it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './run.js';
import { versionsIn } from './versions.js';

/** A checkout that must not be released. */
export class CheckoutError extends Error {}

/**
 * Returns the commit of a checkout and its time, in seconds. @throws CheckoutError if there are other changes, or if the
 * version is not everywhere the one to release
 */
export function inspectCheckout(root, version) {
  const git = (...args) => run('git', args, { cwd: root });
  const changes = git('status', '--porcelain');
  if (changes !== '')
    throw new CheckoutError(`the checkout is not clean; commit or remove these, or clone it:\n${changes}`);
  for (const { file, versions } of versionsIn(root)) {
    const other = versions.find((one) => one.version !== version);
    if (other !== undefined)
      throw new CheckoutError(
        `${file} has the version ${other.version}, not ${version}; run npm run set-version -- ${version}, and commit`,
      );
  }
  const { version: node } = JSON.parse(readFileSync(join(root, 'scripts/image/node.json'), 'utf8'));
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  if (devDependencies.node !== node)
    throw new CheckoutError(`scripts/image/node.json has Node ${node}, package.json ${devDependencies.node}`);
  const [, base] =
    /^ARG NODE_IMAGE=node:([\d.]+)-/m.exec(readFileSync(join(root, 'Dockerfile'), 'utf8')) ?? [];
  if (base !== node)
    throw new CheckoutError(`the Dockerfile has Node ${base}, scripts/image/node.json has ${node}`);
  return { commit: git('rev-parse', 'HEAD'), epoch: Number(git('log', '-1', '--format=%ct')) };
}

/**
 * Returns what the changelog says of a version; where it does not know it yet and `orUnreleased` is set, what is
 * unreleased. @throws CheckoutError
 */
export function changesOf(root, version, orUnreleased) {
  const text = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
  const sections = new Map(
    Array.from(
      text.matchAll(/^## \[([^\]]+)\][^\n]*\n([^]*?)(?=^## \[|^\[[^\]]+\]: |(?![^]))/gm),
      (match) => [match[1], match[2].trim()],
    ),
  );
  const changes = sections.get(version) ?? (orUnreleased ? sections.get('Unreleased') : undefined);
  if (changes === undefined)
    throw new CheckoutError(`CHANGELOG.md has no section "## [${version}]"; name that of "Unreleased" so`);
  return changes;
}
