// Keeps the compiled code of a bundle in the user's cache, for a Node that the code in dist/ is not for. Whoever can write
// there runs code as the user, so only a directory and files count that belong to the user and that nobody else may write to.
'use strict';

const fs = require('node:fs');
const { basename, dirname, isAbsolute, join } = require('node:path');

/** Commands after which enough has been compiled to be kept. Others make use of it. */
const keepers = ['sign', 'resolve', 'exists'];

/**
 * Runs a bundle from code that an earlier run has compiled. If there is none, it compiles it, and keeps it when it ends well.
 * @param {string} program the bundle
 * @param {string} cache the file in dist/ that is not for this Node, whose name the user's gets
 * @param {object} launcher functions of launch.js
 */
function startOwn(program, cache, { compile, encode, start }) {
  const directory = directoryOf(process.env, process.argv);
  const file = directory && join(directory, basename(cache));
  const script = compile(program, file && read(directory, file));
  if (file && script.cachedDataRejected !== false && keepers.includes(process.argv[2]))
    process.once('exit', (code) => {
      if (code === 0) keep(directory, file, encode(program, script));
    });
  start(script, program);
}

/** Returns the directory in the user's cache, or undefined if nothing is to be kept. */
function directoryOf({ XDG_CACHE_HOME = '', HOME = '', NODE_DISABLE_COMPILE_CACHE = '' }, args) {
  if (NODE_DISABLE_COMPILE_CACHE !== '' || args.includes('--no-cache')) return undefined;
  if (process.getuid === undefined) return undefined;
  const base = isAbsolute(XDG_CACHE_HOME)
    ? XDG_CACHE_HOME
    : isAbsolute(HOME)
      ? join(HOME, '.cache')
      : undefined;
  return base && join(base, 'kmm-sign', 'compiled');
}

/** Returns the content of a file of the user, or undefined. */
function read(directory, file) {
  let handle;
  try {
    if (!isOwnDirectory(directory)) return undefined;
    handle = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
    const found = fs.fstatSync(handle);
    return found.isFile() && isOwn(found) ? fs.readFileSync(handle) : undefined;
  } catch {
    return undefined;
  } finally {
    if (handle !== undefined) fs.closeSync(handle);
  }
}

/** Writes a file, whole or not at all. That it cannot be written is no error: the next run compiles. */
function keep(directory, file, content) {
  const fresh = `${file}.${process.pid}`;
  try {
    create(directory);
    if (!isOwnDirectory(directory)) return;
    // V8 does not notice damage, as by a machine that stops while this is written.
    fs.writeFileSync(fresh, content, { mode: 0o600, flag: 'wx', flush: true });
    fs.renameSync(fresh, file);
  } catch {
    if (fs.existsSync(fresh)) fs.rmSync(fresh);
  }
}

/** Creates a directory with two levels above it. Node's `recursive` never ends in /proc, where nothing can be created. */
function create(directory) {
  for (const path of [dirname(dirname(directory)), dirname(directory), directory])
    if (!fs.existsSync(path)) fs.mkdirSync(path, { mode: 0o700 });
}

function isOwnDirectory(path) {
  const found = fs.lstatSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.isDirectory() && isOwn(found);
}

/** Whether something belongs to the user, and nobody else may write to it. */
function isOwn({ uid, mode }) {
  return uid === process.getuid() && (mode & 0o022) === 0;
}

module.exports = { startOwn };
