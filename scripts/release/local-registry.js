// The registry of a dry run: the program's own, on this machine.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { execPath } from 'node:process';
import { createInterface } from 'node:readline';

/** Starts a registry on a directory, and returns its host and how to stop it. @throws Error if it does not start */
export async function startRegistry(directory, { program, env }) {
  const args = ['registry', '--root', directory, '--listen', '127.0.0.1:0'];
  const child = spawn(execPath, [program, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const lines = createInterface(child.stdout);
  const line = await Promise.race([
    once(lines, 'line').then(([text]) => text),
    ended.then(([code]) => `it ended with ${code}`),
  ]);
  const host = /http:\/\/([^,]+),/.exec(line)?.[1];
  if (host === undefined) throw new Error(`the registry of the dry run does not start: ${line}`);
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  return { host, stop };
}
