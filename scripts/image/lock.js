// Writes packages.json anew, with the newest Debian packages that the image's system consists of: `npm run lock-packages`, when
// Debian has mended something. "wanted" in packages.json says what the image has: tools, what loaders need, and the libraries
// that Node is linked to; the rest is what these depend on.
import { writeFileSync } from 'node:fs';
import { argv } from 'node:process';
import { defaultCache } from './fetch.js';
import { lockPackages, pinnedPackages } from './lock-packages.js';

const output = argv[2] ?? pinnedPackages;
writeFileSync(output, `${JSON.stringify(lockPackages(['amd64', 'arm64'], defaultCache), null, 2)}\n`);
