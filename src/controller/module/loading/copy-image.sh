#!/bin/sh
# copy-image.sh PATH...: copies paths of its container's root, and what symbolic links in them lead to, for a loader. Of
# programs there is only busybox, which the loader's image has brought.
set -eu
busybox=/kmm-tools/busybox to=/module-image links=/module-image/.kmm-links
# A pod whose sandbox was replaced begins anew.
$busybox rm -rf "${to:?}"/*
copy() {
  [ -e "$1" ] || [ -L "$1" ] || return 0
  $busybox mkdir -p "$to${1%/*}"
  $busybox cp -dRf "$1" "$to${1%/*}/"
}
for path in "$@"; do
  if [ "$path" != / ]; then
    copy "$path"
    continue
  fi
  for entry in /*; do
    case $entry in /proc | /sys | /dev | /kmm-tools | "$to") ;; *) copy "$entry" ;; esac
  done
done
pass=0 more=yes
while [ $more = yes ] && [ $pass -lt 8 ]; do
  pass=$((pass + 1)) more=no
  $busybox find $to -type l >$links
  while read -r link; do
    target=$($busybox readlink "$link")
    case $target in
      /host/* | /proc/* | /sys/* | /dev/*) continue ;;
      /*) if [ -e "$to$target" ] || [ -L "$to$target" ]; then continue; fi ;;
      *)
        [ ! -e "$link" ] || continue
        target=$($busybox readlink -f "${link#"$to"}") || continue
        ;;
    esac
    if [ ! -e "$target" ] || [ -e "$to$target" ]; then continue; fi
    copy "$target"
    more=yes
  done <$links
done
$busybox rm -f $links
