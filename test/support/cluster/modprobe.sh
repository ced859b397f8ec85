#!/bin/sh
# Replaces modprobe in containers: loads nothing, but finds the module's file as modprobe does, keeps a copy
# and records the call. It only needs a shell and cat from the image.
here=/run/kubelet/modprobe
read -r kernel <"$here/kernel"
directory='' remove='' found='' number=1
while [ -e "$here/$number.arguments" ]; do number=$((number + 1)); done
printf '%s\n' "$@" >"$here/$number.arguments"

finish() {
  echo "$1" >"$here/$number.exit"
  exit "$1"
}

# The kernel does not distinguish - from _ in names.
underscored() (
  set -f
  IFS=-
  set -- $1-
  IFS=_
  echo "$*"
)

find_module() {
  for file in "$1"/*; do
    if [ -d "$file" ] && [ ! -L "$file" ]; then
      find_module "$file" "$2" && return 0
    fi
    base=${file##*/}
    base=${base%.gz} base=${base%.xz} base=${base%.zst}
    case $base in
      *.ko) if [ "$(underscored "${base%.ko}")" = "$2" ]; then found=$file; return 0; fi ;;
    esac
  done
  return 1
}

while [ $# -gt 0 ]; do
  case $1 in
    -d | --dirname) directory=${2%/}; shift 2 ;;
    -S | --set-version) kernel=$2; shift 2 ;;
    --remove) remove=yes; shift ;;
    --*) shift ;;
    -*) case $1 in *r*) remove=yes ;; esac; shift ;;
    *) break ;;
  esac
done

echo "$kernel" >"$here/$number.kernel"
printf '%s\n' "$@" >"$here/$number.names"
if [ "$remove" = yes ]; then
  : >"$here/$number.remove"
  finish 0
fi
if ! find_module "$directory/lib/modules/$kernel" "$(underscored "$1")"; then
  echo "modprobe: FATAL: Module $1 not found in directory $directory/lib/modules/$kernel" >&2
  finish 1
fi
echo "$found" >"$here/$number.file"
# Its name tells modinfo how it is compressed.
cat "$found" >"$here/$number.module.ko${found##*.ko}" || finish 1
finish 0
