import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, startProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { waitFor } from '../support/wait-for.ts';

/** A registry of npm packages that knows one user, and no packages of others. */
export interface NpmRegistry extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  /** npm's configuration with the user's token. */
  readonly userConfiguration: string;
}

/** Starts verdaccio in a folder. */
export async function startNpmRegistry(folder: string): Promise<NpmRegistry> {
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const configuration = join(folder, 'verdaccio.yaml');
  // JSON is YAML.
  const settings = {
    storage: join(folder, 'verdaccio'),
    auth: { htpasswd: { file: join(folder, 'verdaccio.htpasswd') } },
    packages: { '**': { access: '$all', publish: '$authenticated' } },
    log: { type: 'stdout', level: 'warn' },
  };
  await writeFile(configuration, JSON.stringify(settings));
  const args = [requireProgram('verdaccio'), '--config', configuration, '--listen', host];
  const server = startProcess(process.execPath, args, { log: join(folder, 'verdaccio.log') });
  const url = `http://${host}/`;
  const token = await waitFor(() => addUser(url), { timeout: 60_000, interval: 200 });
  const userConfiguration = join(folder, 'npmrc');
  await writeFile(userConfiguration, `//${host}/:_authToken=${token}\n`, { mode: 0o600 });
  return { url, token, userConfiguration, [Symbol.asyncDispose]: () => server.stop() };
}

async function addUser(url: string): Promise<string> {
  const response = await fetch(`${url}-/user/org.couchdb.user:tester`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'tester', password: 'battery staple' }),
  });
  const { token } = (await response.json()) as { token?: string };
  if (token === undefined) throw new Error(`there is no token: ${response.status}`);
  return token;
}
