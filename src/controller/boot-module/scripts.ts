/** Where the scripts are on a node, as in KMM: its MachineConfigs and policies name the same files. */
export const scriptPaths = {
  load: '/usr/local/bin/replace-kernel-module.sh',
  pull: '/usr/local/bin/pull-kernel-module-image.sh',
  wait: '/usr/local/bin/wait-for-dispatcher.sh',
} as const;

/** Defines `images`: that of the module for the running kernel, whose tag is a version, and the worker's. */
const imagesOfKernel = [
  'tag=$(uname -r)',
  'tag=${tag%+}',
  'image=$KERNEL_MODULE_IMAGE:${tag//[^A-Za-z0-9._-]/_}',
  'images=("$image" "$WORKER_IMAGE")',
  // Remembers that a node has booted for an image, lest it boots for ever.
  'notes=/var/lib/kmm-boot-module',
  'note=$notes/$(printf %s "$image" | sha256sum | cut -c1-32)',
];

/** What the worker's container does, in a POSIX shell. It sees the module's image at /module-image. */
const loadInContainer = [
  'set -u',
  'for one in $IN_TREE_MODULES_TO_REMOVE; do',
  '  if [ -d "/sys/module/$(printf %s "$one" | tr - _)" ]; then',
  '    modprobe -rv -d /host "$one" || rmmod "$one" || exit',
  '  fi',
  'done',
  'if [ -n "$FIRMWARE_FILES_PATH" ]; then',
  '  cp -r "/module-image$FIRMWARE_FILES_PATH/." /host/firmware/ || exit',
  '  printf /var/lib/firmware >/sys/module/firmware_class/parameters/path || exit',
  'fi',
  'for file in /module-image/etc/modprobe.d/*; do',
  '  if [ -f "$file" ]; then mkdir -p /etc/modprobe.d && cp "$file" /etc/modprobe.d/ || exit; fi',
  'done',
  'exec modprobe -v -d /module-image/opt "$KERNEL_MODULE"',
];

/** Loads the module before the network starts, if its image has been pulled at an earlier boot. */
const load = [
  '#!/bin/bash',
  '# Written by kmm-operator: loads a kernel module at boot.',
  'set -u',
  ...imagesOfKernel,
  'for one in "${images[@]}"; do',
  '  if ! podman image exists "$one"; then',
  '    echo "$one has not been pulled yet, so $KERNEL_MODULE is loaded at the next boot"',
  '    exit 0',
  '  fi',
  'done',
  'mkdir -p /var/lib/firmware',
  'podman run --rm --pull=never --network=none --privileged --user=0:0 \\',
  '  --mount "type=image,source=$image,destination=/module-image" \\',
  '  --volume /lib/modules:/host/lib/modules:ro --volume /var/lib/firmware:/host/firmware \\',
  '  --env "IN_TREE_MODULES_TO_REMOVE=$IN_TREE_MODULES_TO_REMOVE" \\',
  '  --env "FIRMWARE_FILES_PATH=$FIRMWARE_FILES_PATH" --env "KERNEL_MODULE=$KERNEL_MODULE" \\',
  '  --entrypoint /bin/sh "$WORKER_IMAGE" -c \'',
  ...loadInContainer,
  '\' || { echo "$KERNEL_MODULE of $image could not be loaded" >&2; exit 1; }',
  'echo "$KERNEL_MODULE of $image is loaded"',
];

/** Pulls the images once there is a network, and boots again for `load` to find them. */
const pull = [
  '#!/bin/bash',
  '# Written by kmm-operator: pulls the image of a kernel module that is loaded at boot.',
  'set -u',
  ...imagesOfKernel,
  'missing=()',
  'for one in "${images[@]}"; do podman image exists "$one" || missing+=("$one"); done',
  'if [ "${#missing[@]}" -eq 0 ]; then',
  '  rm -f "$note"',
  '  echo "$image and $WORKER_IMAGE are here"',
  '  exit 0',
  'fi',
  'for one in "${missing[@]}"; do',
  '  podman pull --quiet --authfile /var/lib/kubelet/config.json "$one" && podman image exists "$one" || exit 1',
  'done',
  'if [ -e "$note" ]; then',
  '  echo "$image was gone after this node booted for it, so it does not boot again; $KERNEL_MODULE_IMAGE is loaded at the next boot" >&2',
  '  exit 1',
  'fi',
  'mkdir -p "$notes" && touch "$note" || exit 1',
  'echo "$image has been pulled; booting again to load it"',
  'exec systemctl reboot',
];

/** Waits until the network's scripts have run: names can be resolved then. The unit limits the time. */
const wait = [
  '#!/bin/bash',
  '# Written by kmm-operator: waits for NetworkManager-dispatcher.',
  'state() { systemctl show NetworkManager-dispatcher --value --property="$1"; }',
  'until [ "$(state LoadState) $(state Result) $(state ActiveState)" = "loaded success inactive" ]; do',
  '  sleep 1',
  'done',
];

/** The scripts by their paths. They never change: units tell them by variables what to do. */
export const scripts: ReadonlyMap<string, string> = new Map(
  [
    [scriptPaths.load, load] as const,
    [scriptPaths.pull, pull] as const,
    [scriptPaths.wait, wait] as const,
  ].map(([path, lines]) => [path, `${lines.join('\n')}\n`]),
);
