"""Mounts layers with overlayfs and lists the regular files that it shows.

Reads a list of stacks from stdin as JSON. A stack is a list of layers, base first; a layer is a list of
entries with path, type and linkName. Writes the files of each stack with their content ("/path 1:0"), or null
if a layer cannot be unpacked. Must be run as root in a separate mount namespace.

A layer is unpacked as containerd does for its overlayfs snapshotter (pkg/archive, applyNaive with
OverlayConvertWhiteout): into an empty directory, following links of parent directories within it, with a
whiteout as a character device 0/0 and an opaque directory by its attribute. The mount has containerd's
options.
"""

import collections
import ctypes
import json
import os
import shutil
import stat
import sys
import tempfile

libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    pass


def mount(source, target, kind, options):
    if libc.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f'mount {kind}: {os.strerror(error)}')


def resolve(root, path):
    """Resolves a path, following links inside the root; components that do not exist are kept."""
    current = []
    waiting = collections.deque(path.split('/'))
    links = 0
    while waiting:
        name = waiting.popleft()
        if name in ('', '.'):
            continue
        if name == '..':
            current = current[:-1]
            continue
        full = os.path.join(root, *current, name)
        if os.path.islink(full):
            links += 1
            if links > 255:
                raise Refused('too many links')
            target = os.readlink(full)
            if target.startswith('/'):
                current = []
            waiting.extendleft(reversed(target.split('/')))
            continue
        current.append(name)
    return os.path.join(root, *current)


def make_parent(path):
    if os.path.lexists(path):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise Refused('a parent is no directory')
        return
    make_parent(os.path.dirname(path))
    os.mkdir(path, 0o755)


def remove(path):
    if not os.path.lexists(path):
        return
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path)
    else:
        os.remove(path)


def unpack_entry(root, entry, content):
    directory, _, name = entry['path'].rpartition('/')
    parent = resolve(root, directory)
    path = os.path.join(parent, name)
    if parent != root:
        make_parent(parent)
    if name == '.wh..wh..opq':
        os.setxattr(parent, 'trusted.overlay.opaque', b'y')
        return
    if name.startswith('.wh.'):
        os.mknod(os.path.join(parent, name[4:]), stat.S_IFCHR | 0o600, os.makedev(0, 0))
        return
    is_directory = entry['type'] == 'directory'
    if not (is_directory and os.path.isdir(path) and not os.path.islink(path)):
        remove(path)
    if is_directory:
        os.makedirs(path, exist_ok=True)
    elif entry['type'] == 'symlink':
        os.symlink(entry['linkName'], path)
    elif entry['type'] == 'hardlink':
        target, _, last = entry['linkName'].rpartition('/')
        os.link(os.path.join(resolve(root, target), last), path, follow_symlinks=False)
    else:
        with open(path, 'w', encoding='utf8') as file:
            file.write(content)


def list_files(root):
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            # A directory of a single layer is listed with its whiteouts, though none can be opened.
            if os.path.lexists(path) and stat.S_ISREG(os.lstat(path).st_mode):
                with open(path, encoding='utf8') as file:
                    found.append(f'{path[len(root):]} {file.read()}')
    return sorted(found)


def show(base, stack):
    lower = []
    try:
        for layer, entries in enumerate(stack):
            root = os.path.join(base, str(layer))
            os.mkdir(root)
            lower.insert(0, str(layer))
            for index, entry in enumerate(entries):
                unpack_entry(root, entry, f'{layer}:{index}')
    except (Refused, OSError):
        return None
    for name in ('upper', 'work', 'merged'):
        os.mkdir(os.path.join(base, name))
    os.chdir(base)
    options = f'index=off,lowerdir={":".join(lower)},upperdir=upper,workdir=work'
    mount('overlay', 'merged', 'overlay', options)
    try:
        return list_files(os.path.join(base, 'merged'))
    finally:
        libc.umount2(b'merged', 2)


def main():
    scratch = tempfile.mkdtemp(prefix='kmm-sign-overlay-')
    try:
        # The directories that overlayfs uses must not be on overlayfs themselves, as they are in a container.
        mount('tmpfs', scratch, 'tmpfs', '')
        results = []
        for number, stack in enumerate(json.load(sys.stdin)):
            base = os.path.join(scratch, str(number))
            os.mkdir(base)
            results.append(show(base, stack))
        json.dump(results, sys.stdout)
    finally:
        os.chdir('/')
        libc.umount2(scratch.encode(), 2)
        os.rmdir(scratch)


main()
