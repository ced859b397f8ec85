#!/bin/sh
# modprobe whose kernel is the directory /sys/module: finds modules and reads settings as the real one does, which it
# asks, and then makes or removes their directories.
case " $* " in *" --show-depends "*) exec /usr/sbin/modprobe "$@" ;; esac
printf '%s' "$(printf '%s|' "$@")" | tr '\n' ' ' >>/run/kmm-loader/calls
echo >>/run/kmm-loader/calls
remove=no
for word; do
	case $word in --*) ;; -*r*) remove=yes ;; esac
done
if [ $remove = yes ]; then
	for word; do
		name=$(printf %s "$word" | tr - _)
		[ -d "/sys/module/$name" ] || continue
		if [ "$(cat "/sys/module/$name/refcnt" 2>/dev/null || echo 0)" != 0 ]; then
			echo "modprobe: FATAL: Module $name is in use." >&2
			exit 1
		fi
		rm -r "/sys/module/$name"
	done
	exit 0
fi
lines=$(/usr/sbin/modprobe --show-depends "$@") || exit 1
printf '%s\n' "$lines" | while read -r word path options; do
	[ "$word" = insmod ] || continue
	name=${path##*/}
	name=$(printf %s "${name%%.ko*}" | tr - _)
	[ ! -d "/sys/module/$name" ] || continue
	# What kmod hands to the kernel as it is.
	if [ "$(head -c 2 "$path" | od -An -tx1)" = " 1f 8b" ]; then
		echo "modprobe: ERROR: could not insert '$name': Exec format error" >&2
		exit 1
	fi
	mkdir "/sys/module/$name"
	echo 0 >"/sys/module/$name/refcnt"
	printf %s "$options" >"/sys/module/$name/options"
	modinfo -F srcversion "$(readlink -f "$path")" >"/sys/module/$name/srcversion"
	[ -s "/sys/module/$name/srcversion" ] || rm "/sys/module/$name/srcversion"
	echo "insmod $path $options" >>/run/kmm-loader/calls
done || exit
