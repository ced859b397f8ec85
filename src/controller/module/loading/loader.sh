#!/bin/sh
# The program of a module loader: brings a module of an image into the node's kernel, waits, and takes it out again.
# What a Module says comes in variables (loader-environment.ts). KMM_LOAD, KMM_UNLOAD, KMM_ORDER and KMM_IN_TREE are lists
# of words that are quoted for a shell.

# fail WORDS: ends with the words for the container's status, and what the kernel said meanwhile.
fail() {
  printf '%s\n' "$1" >&2
  { printf '%s\n' "$1" | head -c 2048; kernel_lines; } >/dev/termination-log
  exit 1
}
kernel_lines() {
  kernel_log | mark=$mark awk 'seen || ENVIRON["mark"] == ""; $0 == ENVIRON["mark"] { seen = 1 }' | tail -n 8
}
# That of util-linux reads /dev/kmsg otherwise, which containers lack; busybox has no such option.
kernel_log() { dmesg --syslog 2>/dev/null || dmesg 2>/dev/null; }

# link FROM TO DEPTH: makes the paths of the image lead to its files, except where there are files of our own.
link() (
  from=$1 to=$2 depth=$3
  set --
  for entry in "$from"/*; do
    path=$to/${entry##*/}
    case $path in /proc | /sys | /dev | /host | /usr/share) continue ;; esac
    if [ -d "$entry" ] && [ ! -L "$entry" ] && [ -d "$path" ]; then
      [ "$depth" -eq 0 ] || link "$entry" "$path" $((depth - 1))
    elif [ -L "$entry" ] && [ -d "$path" ] && [ ! -L "$path" ] && rmdir "$path" 2>/dev/null; then
      set -- "$@" "$entry"
    elif [ ! -e "$path" ] && [ ! -L "$path" ] && { [ -e "$entry" ] || [ -L "$entry" ]; }; then
      set -- "$@" "$entry"
    fi
  done
  [ $# -eq 0 ] || ln -s "$@" "$to/" 2>/dev/null
  :
)
link_modules() {
  mkdir -p /lib/modules 2>/dev/null
  [ -e "/lib/modules/$KMM_RELEASE" ] || ln -s "/host/lib/modules/$KMM_RELEASE" /lib/modules/ 2>/dev/null
}
link_image() {
  # Where the image's own modules are in the place of the node's, they come first.
  case $KMM_DIRECTORY in / | /usr) ;; *) link_modules ;; esac
  for directory in etc lib usr/lib usr/local/lib; do
    for file in "/module-image/$directory/modprobe.d"/*; do
      [ -e "$file" ] || continue
      mkdir -p "/$directory/modprobe.d"
      ln -sf "$file" "/$directory/modprobe.d/"
    done
  done
  link /module-image '' 4
  link_modules
  if [ -e /modules-order/softdep.conf ]; then
    mkdir -p /etc/modprobe.d
    ln -sf /modules-order/softdep.conf /etc/modprobe.d/kmm-modules-order.conf
  fi
}

# Makes the files of the directory that the Module names settings of modprobe, or says why it cannot.
link_settings() {
  [ -n "${KMM_SETTINGS:-}" ] || return 0
  from=/module-image$KMM_SETTINGS
  [ -d "$from" ] || fail "the image has no directory $KMM_SETTINGS (modprobedDir)"
  mkdir -p /etc/modprobe.d
  found=no
  for file in "$from"/* "$from"/.[!.]*; do
    [ -e "$file" ] || continue
    [ ! -d "$file" ] || fail "$KMM_SETTINGS (modprobedDir) of the image has a directory in it: ${file##*/}"
    [ "${file##*/}" != kmm-modules-order.conf ] || fail "$KMM_SETTINGS (modprobedDir) of the image has a file of the operator's name: ${file##*/}"
    ln -sf "$file" /etc/modprobe.d/
    found=yes
  done
  [ "$found" = yes ] || fail "the directory $KMM_SETTINGS (modprobedDir) of the image is empty"
}

# own DIRECTORY: turns what is linked of its path into directories of ours, whose entries are links to the same.
own() (
  here='' rest=${1#/}/
  while [ -n "$rest" ]; do
    here=$here/${rest%%/*} rest=${rest#*/}
    [ -L "$here" ] || continue
    target=$(readlink -f "$here")
    case $target in
      /module-image | /module-image/* | /host/lib/modules | /host/lib/modules/*) ;;
      # A link of the loader's own image.
      *) here=$target; continue ;;
    esac
    set --
    for entry in "$target"/*; do
      if [ -e "$entry" ] || [ -L "$entry" ]; then set -- "$@" "$entry"; fi
    done
    rm "$here" && mkdir "$here" || return
    [ $# -eq 0 ] || ln -s "$@" "$here/" || return
  done
)
# Makes an index of the image's modules, where it has none for kmod or one that lacks the module.
index() {
  directory=${KMM_DIRECTORY%/}/lib/modules/$version
  case $(readlink -f "$directory") in /host/*) return 1 ;; esac
  own "$directory" && [ -d "$directory" ] || return
  find -L "$directory" \( -name build -o -name source \) -prune -o -name '*.ko.gz' -print 2>/dev/null |
    while read -r zipped; do
      # Decompressing all of the node's would take its memory.
      case $(readlink -f "$zipped") in /host/*) continue ;; esac
      own "${zipped%/*}" && gzip -dc "$zipped" >"${zipped%.gz}"
    done
  depmod -b "$KMM_DIRECTORY" "$version"
}
# unzip_modules LIST: the kmod of Debian 12 has no gzip. Of what is to be loaded, the path leads to the plain content: kmod
# goes by that, and not by the name.
unzip_modules() {
  while read -r word path _; do
    case $word$path in insmod*.gz) ;; *) continue ;; esac
    own "${path%/*}" && rm -f "${path%.gz}" && gzip -dc "$path" >"${path%.gz}" && ln -sf "${path%.gz}" "$path" || return
  done <<END
$1
END
}

load() { eval "run_modprobe $KMM_LOAD"; }
depends() { eval "run_modprobe --show-depends $KMM_LOAD"; }
unload() { eval "run_modprobe $KMM_UNLOAD"; }
run_modprobe() {
  if [ "$version" = "$KMM_RELEASE" ]; then modprobe "$@"; else modprobe -S "$version" "$@"; fi
}
# Images name directories by KERNEL_FULL_VERSION, without the + at the end of some kernels' releases, but modprobe looks
# for the release. If only the other directory exists, it is told so.
find_version() {
  version=$KMM_RELEASE
  [ -z "$KMM_VERSION" ] || [ -d "${KMM_DIRECTORY%/}/lib/modules/$version" ] || version=$KMM_VERSION
}

# Finds the name that the kernel will know the module by, and its file.
find_module() {
  module='' file=''
  listed=$(depends 2>/dev/null) || { index >/dev/null 2>&1 && listed=$(depends 2>/dev/null); }
  words=$(unzip_modules "$listed" 2>&1) ||
    fail "cannot decompress a module of the image: $(printf %s "$words" | tr '\n' ' ')"
  while read -r word path _; do
    [ "$word" = insmod ] || continue
    if [ -n "$KMM_MODULE" ] && [ "$module" = "$KMM_MODULE" ]; then break; fi
    module=${path##*/} file=${path%.gz}
    module=$(printf %s "${module%%.ko*}" | tr - _)
  done <<END
$listed
END
  [ -n "$module" ] || module=$KMM_MODULE
}
is_loaded() { [ -n "$module" ] && [ -d "/sys/module/$module" ]; }
loaded_ones() { eval "loaded_of \"\$module\" $KMM_ORDER"; }
loaded_of() {
  for one in "$@"; do
    if [ -n "$one" ] && [ -d "/sys/module/$one" ]; then printf '%s ' "$one"; fi
  done
}

# Compares the kernel's module with the image's: 0 the same, 1 another, 2 unknown.
compare() {
  [ -n "$file" ] || return 2
  in_kernel=$(cat "/sys/module/$module/srcversion" 2>/dev/null)
  in_image=$(modinfo -F srcversion "$file" 2>/dev/null)
  if [ -z "$in_kernel$in_image" ]; then
    in_kernel=$(build_id 2>/dev/null <"/sys/module/$module/notes/.note.gnu.build-id")
    in_image=$(plain | build_id)
    [ -n "$in_kernel" ] && [ -n "$in_image" ] || return 2
  fi
  [ "$in_kernel" = "$in_image" ]
}
plain() {
  case $file in
    *.xz) xz -dc "$file" ;;
    *.zst) zstd -qdc "$file" ;;
    *) cat "$file" ;;
  esac
}
# The note of that type and name, and its 20 bytes.
build_id() {
  od -An -v -tx1 | tr -d ' \n' | grep -o '040000001400000003000000474e5500.\{40\}' | head -n 1
}

remove_in_tree() { eval "remove_each $KMM_IN_TREE"; }
remove_each() {
  for one in "$@"; do
    [ -d "/sys/module/$(printf %s "$one" | tr - _)" ] || continue
    modprobe -rv -d /host "$one" || rmmod "$one" || return
  done
}

# Files beside the firmware: the value to restore, and one for each Module that relies on ours.
notes=/host/firmware/.kmm-firmware-path
search_path=/host/sys-module/firmware_class/parameters/path
copy_firmware() {
  [ -n "$KMM_FIRMWARE" ] || return 0
  cp -r "/module-image$KMM_FIRMWARE/." /host/firmware/ || return
  [ -n "$KMM_FIRMWARE_PATH" ] || return 0
  mkdir -p "$notes" || return
  value=$(cat "$search_path")
  if [ "$value" != "$KMM_FIRMWARE_PATH" ]; then
    printf %s "$value" >"$notes/.before"
    set_search_path "$KMM_FIRMWARE_PATH" || return
  fi
  : >"$notes/$KMM_OWNER"
}
remove_firmware() {
  [ -n "$KMM_FIRMWARE" ] || return 0
  (cd "/module-image$KMM_FIRMWARE" &&
    find . ! -type d -exec rm -f /host/firmware/{} \; &&
    find . -mindepth 1 -depth -type d -exec rmdir /host/firmware/{} \;) 2>/dev/null
  :
}
restore_search_path() {
  [ -n "$KMM_FIRMWARE" ] && [ -n "$KMM_FIRMWARE_PATH" ] || return 0
  rm -f "$notes/$KMM_OWNER"
  [ -z "$(ls "$notes" 2>/dev/null)" ] || return 0
  if [ "$(cat "$search_path")" = "$KMM_FIRMWARE_PATH" ]; then
    set_search_path "$(cat "$notes/.before" 2>/dev/null)"
  fi
  rm -rf "$notes"
}
# The zero byte makes the value empty if it is: nothing would be written otherwise.
set_search_path() { printf '%s\000' "$1" >"$search_path"; }

# unload_within SECONDS: unloads, and tries again while it fails.
unload_within() {
  end=$(($(date +%s) + $1))
  while :; do
    if words=$(unload 2>&1); then failed=no; else failed=yes; fi
    left=$(loaded_ones)
    if [ -z "$left" ] && { [ -n "$module" ] || [ "$failed" = no ]; }; then return 0; fi
    [ "$failed" = yes ] || words="modprobe succeeded, but the kernel still has $left"
    words="$words$(users)"
    printf '%s\n' "$words" >/dev/termination-log
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 1
  done
}
users() {
  is_loaded || return 0
  holders=''
  for one in "/sys/module/$module/holders"/*; do
    if [ -e "$one" ] || [ -L "$one" ]; then holders="$holders ${one##*/}"; fi
  done
  count=$(cat "/sys/module/$module/refcnt" 2>/dev/null)
  if [ -n "$holders" ]; then
    printf ' (module is in use by%s)' "$holders"
  elif [ "${count:-0}" != 0 ]; then
    printf ' (module is in use: %s references)' "$count"
  fi
}

# Ends the loader, at the signal of its pod's end.
stop() {
  trap '' TERM INT
  rm -f /run/kmm-loader/ready
  if [ "$KMM_LOADER_MODE" = unload ] && [ -z "$(loaded_ones)" ]; then exit 0; fi
  remove_firmware
  unload_within "$KMM_UNLOAD_SECONDS" || fail "$words"
  restore_search_path
  : >/dev/termination-log
  exit 0
}
# Unloads for a loader that only cleans its node.
clean() {
  remove_firmware
  unload_within "$KMM_TRY_SECONDS" || fail "$words"
  restore_search_path
  ready=/
}
start() {
  is_same=no
  if is_loaded; then
    compare
    case $? in
      0) is_same=yes ;;
      1) if ! remove_in_tree || is_loaded; then replace; fi ;;
    esac
  fi
  if [ "$is_same" = no ]; then words=$(remove_in_tree 2>&1) || fail "$words"; fi
  words=$(copy_firmware 2>&1) || fail "$words"
  words=$(load 2>&1) || fail "$words"
  if [ -n "$words" ]; then printf '%s\n' "$words" >&2; fi
  if [ -z "$module" ]; then
    ready=/
    return
  fi
  is_loaded || fail "modprobe succeeded, but there is no /sys/module/$module"
  compare
  [ $? -ne 1 ] || fail "the kernel has another build of $module ($in_kernel) than the image ($in_image)"
  ready=/sys/module/$module
}
replace() {
  unload_within "$KMM_TRY_SECONDS" ||
    fail "the kernel has another build of $module ($in_kernel) than the image ($in_image), and keeps it: $words"
}

mkdir -p /run/kmm-loader
rm -f /run/kmm-loader/ready /run/kmm-loader/idle
mark=$(kernel_log | tail -n 1)
trap stop TERM INT
link_image
link_settings
find_version
find_module
if [ "$KMM_LOADER_MODE" = unload ]; then clean; else start; fi
ln -s "$ready" /run/kmm-loader/ready
: >/dev/termination-log
# Nobody writes to this pipe: reading waits for a signal, without a second process.
mkfifo /run/kmm-loader/idle
exec 3<>/run/kmm-loader/idle
while :; do read -r _ <&3; done
