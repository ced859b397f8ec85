// Writes software bills of materials in SPDX 2.3: of the npm package, and of the image for each architecture.
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { architectures } from './images.js';

const namespace = 'https://github.com/kmm-sign/kmm-sign/releases/download';

/** Writes the bills, after the GitHub Action was built: esbuild tells which packages are in the bundles. */
export function writeBills({ root, work, output, version, commit, epoch }) {
  const folder = join(output, 'sbom');
  mkdirSync(folder);
  const itself = {
    ...part('kmm-sign', 'kmm-sign', version, `pkg:npm/kmm-sign@${version}`),
    downloadLocation: `git+https://github.com/kmm-sign/kmm-sign@${commit}`,
    licenseDeclared: 'Apache-2.0',
  };
  const created = new Date(epoch * 1000).toISOString().replace('.000', '');
  const bundled = bundledPackages(root, work);
  const write = (name, more) => {
    const parts = [...bundled, ...more];
    const bill = {
      spdxVersion: 'SPDX-2.3',
      dataLicense: 'CC0-1.0',
      SPDXID: 'SPDXRef-DOCUMENT',
      name: `${name}-${version}`,
      documentNamespace: `${namespace}/v${version}/${name}.spdx.json/${commit}`,
      creationInfo: { created, creators: ['Tool: kmm-sign-scripts-release'] },
      packages: [itself, ...parts],
      relationships: [
        relationship('SPDXRef-DOCUMENT', 'DESCRIBES', itself.SPDXID),
        ...parts.map(({ SPDXID }) => relationship(itself.SPDXID, 'CONTAINS', SPDXID)),
      ],
    };
    writeFileSync(join(folder, `${name}.spdx.json`), `${JSON.stringify(bill, null, 2)}\n`);
  };
  write('kmm-sign', []);
  const node = JSON.parse(readFileSync(join(root, 'scripts/image/node.json'), 'utf8'));
  for (const architecture of architectures) {
    const list = join(work, `system-${architecture}`, 'packages.json');
    const debian = JSON.parse(readFileSync(list, 'utf8')).map((one) => debianPackage(one, architecture));
    write(`kmm-sign-image-${architecture}`, [nodePackage(node, architecture), ...debian]);
  }
}

function relationship(spdxElementId, relationshipType, relatedSpdxElement) {
  return { spdxElementId, relationshipType, relatedSpdxElement };
}

/** Returns the npm packages that have code in the bundles. */
function bundledPackages(root, work) {
  const { inputs } = JSON.parse(readFileSync(join(work, 'action/metafile.json'), 'utf8'));
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const folders = Object.keys(inputs).flatMap(
    (path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path.replace(/^[\w-]+:/, ''))?.[0] ?? [],
  );
  return [...new Set(folders)].toSorted(byCodeUnits).map((path) => {
    const { version, license, integrity, resolved } = lock.packages[path];
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
    return {
      ...part(`npm-${name}-${version}`, name, version, purl),
      ...(license === undefined ? {} : { licenseDeclared: license }),
      ...(resolved === undefined ? {} : { downloadLocation: resolved }),
      checksums: [sha512(integrity)],
    };
  });
}

function byCodeUnits(one, other) {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

/** Converts npm's form of a checksum. */
function sha512(integrity) {
  const checksumValue = Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex');
  return { algorithm: 'SHA512', checksumValue };
}

function debianPackage({ file, archive, path, sha256 }, architecture) {
  const [name, version] = file.split('_');
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=debian-12`;
  return {
    ...part(`Debian-${name}`, name, version, purl),
    downloadLocation: `https://deb.debian.org/${archive}/${path}`,
    checksums: [{ algorithm: 'SHA256', checksumValue: sha256 }],
  };
}

function nodePackage({ version, packages }, architecture) {
  const { name, integrity } = packages[architecture];
  return {
    ...part('Node', 'node', version, `pkg:npm/${name}@${version}`),
    downloadLocation: `https://registry.npmjs.org/${name}/-/${name}-${version}.tgz`,
    checksums: [sha512(integrity)],
  };
}

function part(id, name, versionInfo, referenceLocator) {
  return {
    name,
    downloadLocation: 'NOASSERTION',
    SPDXID: `SPDXRef-${id.replaceAll(/[^A-Za-z0-9.-]/g, '-')}`,
    versionInfo,
    filesAnalyzed: false,
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: 'NOASSERTION',
    copyrightText: 'NOASSERTION',
    externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator }],
  };
}
