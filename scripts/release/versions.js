// Finds the version of this project where it is written down.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const version = String.raw`(?<version>\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)`;
const images = String.raw`\/(?:kmm-sign(?:-loader|-catalog)?|[a-z-]+-bundle):${version}`;

/** Files and folders, and how the version is named in them. */
const places = {
  'package.json': String.raw`^  "version": "${version}"`,
  // The package itself, twice; not those that it depends on.
  'package-lock.json': String.raw`"name": "kmm-sign",\n\s*"version": "${version}"`,
  'deploy/chart/kmm-sign/Chart.yaml': String.raw`^(?:version|appVersion): ${version}`,
  deploy: images,
  docs: images,
};

/**
 * Returns the files of a checkout that name the version, with their text and, in order, the versions in them and where
 * those begin and end.
 */
export function versionsIn(root) {
  return Object.entries(places).flatMap(([place, pattern]) =>
    filesOf(root, place).flatMap((file) => {
      const text = readFileSync(join(root, file), 'utf8');
      const versions = Array.from(text.matchAll(new RegExp(pattern, 'dgm')), ({ groups, indices }) => {
        const [start, end] = indices.groups.version;
        return { version: groups.version, start, end };
      });
      return versions.length === 0 ? [] : [{ file, text, versions }];
    }),
  );
}

function filesOf(root, place) {
  if (place.includes('.')) return [place];
  return readdirSync(join(root, place), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(?:yaml|md)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .toSorted();
}
