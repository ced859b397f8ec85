import { version } from './output/version.ts';

// The version is printed before anything else is loaded.
const args = process.argv.slice(2);
if (args.length === 1 && args[0] === '--version') process.stdout.write(`${version}\n`);
else void import('./run.ts').then(({ runProcess }) => runProcess(args));
