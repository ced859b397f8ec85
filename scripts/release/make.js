// Makes everything that a release consists of, in one folder. The same commit and the same programs give the same bytes.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { env } from 'node:process';
import { makeChart } from './chart.js';
import { changesOf, CheckoutError, inspectCheckout } from './checkout.js';
import { makeExample, makeKey } from './example.js';
import { architectures, ImageBuilder } from './images.js';
import { writeManifests } from './manifests.js';
import { writeNotes } from './notes.js';
import { makeActionCommit, makePackage } from './npm-package.js';
import { makeOperatorBundles } from './operator-bundles.js';
import { writeChecksums, writeProvenance } from './provenance.js';
import { writeBills } from './sbom.js';

/** Makes a release, and returns what is to publish: images by their names, chart, package, and the Action's commit. */
export function makeRelease(given) {
  const { root, output, version, isDryRun } = given;
  const { commit, epoch } = inspectCheckout(root, version);
  const changes = changesOf(root, version, isDryRun);
  if (existsSync(output) && readdirSync(output).length > 0)
    throw new CheckoutError(`${output} is not empty; remove it, or name another folder with --output`);
  mkdirSync(output, { recursive: true });
  const release = {
    ...given,
    commit,
    epoch,
    env: environment(commit, epoch),
    // The one that the image has.
    program: join(given.work, `application-${architectures[0]}/out/app/bin/kmm-sign.js`),
  };

  const builder = new ImageBuilder(release);
  const programs = step('images', () => builder.makePrograms());
  const images = {
    ...programs,
    ...step('bundles and catalog', () => makeOperatorBundles(release, builder, programs)),
    ...step('example', () => makeExample(release, builder, given.signing ?? makeKey(release))),
  };
  const chart = step('chart', () => makeChart(release, programs));
  step('manifests', () => writeManifests(release, programs));
  const archive = step('npm package', () => makePackage(release));
  const actionCommit = step('GitHub Action', () => makeActionCommit(release));
  step('bills of materials', () => writeBills(release));
  writeFileSync(join(output, 'images.json'), `${JSON.stringify(images, null, 2)}\n`);
  writeNotes(release, { changes, images, actionCommit });
  step('provenance', () => writeProvenance(release, images));
  writeChecksums(release);
  return { ...release, images, chart, archive, actionCommit };
}

/** Says what is being made. */
function step(name, make) {
  console.log(name);
  return make();
}

/** The environment of the programs that make something: nothing of where and when they run may get into it. */
function environment(commit, epoch) {
  return {
    ...env,
    KMM_SIGN_COMMIT: commit,
    SOURCE_DATE_EPOCH: String(epoch),
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
  };
}
