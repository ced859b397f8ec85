// Makes the chart's archive, whose values name the images of this release by their digests.
import { cpSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { run } from './run.js';

/** Writes the chart's archive, and returns its path. `helm package` would note when it did so. */
export function makeChart({ root, work, output, version, epoch, env }, programs) {
  const folder = join(work, 'chart');
  cpSync(join(root, 'deploy/chart/kmm-sign'), join(folder, 'kmm-sign'), { recursive: true });
  const file = join(folder, 'kmm-sign/values.yaml');
  const values = parseDocument(readFileSync(file, 'utf8'));
  const [repository, digest] = programs['kmm-sign'].split('@');
  values.setIn(['image', 'repository'], repository);
  values.setIn(['image', 'digest'], digest);
  values.setIn(['images', 'loader'], programs['kmm-sign-loader']);
  writeFileSync(file, values.toString({ lineWidth: 0 }));
  mkdirSync(join(output, 'chart'));
  const archive = join(output, 'chart', `kmm-sign-${version}.tgz`);
  const times = [
    '--sort=name',
    `--mtime=@${epoch}`,
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mode=u=rwX,go=rX',
  ];
  const compress = '--use-compress-program=gzip --no-name --best';
  run('tar', ['--create', '--format=ustar', ...times, compress, `--file=${archive}`, 'kmm-sign'], {
    cwd: folder,
    env,
  });
  // `helm push` writes the time of the file into the manifest.
  utimesSync(archive, epoch, epoch);
  return archive;
}
