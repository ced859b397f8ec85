#!/bin/sh
# Replaces modprobe in containers: finds the module's file as modprobe does, keeps a copy and records the call. The
# kernel's modules are the directory /sys/module.
here=/run/kubelet/modprobe
read -r kernel <"$here/kernel"
directory='' remove='' found='' number=1
show=''
for word; do [ "$word" != --show-depends ] || show=yes; done
if [ "$show" = '' ]; then
  while [ -e "$here/$number.arguments" ]; do number=$((number + 1)); done
  printf '%s\n' "$@" >"$here/$number.arguments"
fi

finish() {
  [ "$show" = yes ] || echo "$1" >"$here/$number.exit"
  exit "$1"
}

# The kernel does not distinguish - from _ in names.
underscored() {
  printf %s "$1" | tr - _
}

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

if [ "$show" = '' ]; then
  echo "$kernel" >"$here/$number.kernel"
  printf '%s\n' "$@" >"$here/$number.names"
fi
if [ "$remove" = yes ]; then
  : >"$here/$number.remove"
  for name; do
    if [ "$(cat "/sys/module/$(underscored "$name")/refcnt" 2>/dev/null || echo 0)" != 0 ]; then
      echo "modprobe: FATAL: Module $name is in use." >&2
      finish 1
    fi
  done
  for name; do rm -rf "/sys/module/$(underscored "$name")"; done
  finish 0
fi
if ! find_module "$directory/lib/modules/$kernel" "$(underscored "$1")"; then
  echo "modprobe: FATAL: Module $1 not found in directory $directory/lib/modules/$kernel" >&2
  finish 1
fi
if [ "$show" = yes ]; then
  echo "insmod $found "
  exit 0
fi
echo "$found" >"$here/$number.file"
# Its name tells modinfo how it is compressed.
cat "$found" >"$here/$number.module.ko${found##*.ko}" || finish 1
mkdir -p "/sys/module/$(underscored "$1")"
modinfo -F srcversion "$found" >"/sys/module/$(underscored "$1")/srcversion"
finish 0
