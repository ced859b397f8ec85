// Writes a new version everywhere that the version is written down:
//
//     npm run set-version -- X.Y.Z
//
// and lists the files that it changed. scripts/release.js refuses a checkout in which they differ.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { argv, execPath } from 'node:process';
import { versionsIn } from './release/versions.js';

const root = resolve(import.meta.dirname, '..');
const wanted = argv[2] ?? '';
if (!/^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/.test(wanted)) {
  console.error('set-version: a version like 1.2.3 is needed');
  process.exit(2);
}
for (const { file, text, versions } of versionsIn(root)) {
  if (versions.every(({ version }) => version === wanted)) continue;
  let fresh = text;
  for (const { start, end } of versions.toReversed())
    fresh = fresh.slice(0, start) + wanted + fresh.slice(end);
  writeFileSync(join(root, file), fresh);
  console.log(file);
}
// The chart's README names the version.
const { status } = spawnSync(execPath, ['scripts/docs.js'], { cwd: root, stdio: 'inherit' });
process.exitCode = status ?? 1;
