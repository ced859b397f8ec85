#!/bin/sh
# loader-root.sh SYSTEM DIRECTORY: lays out the root of the image of module loaders, of a Debian system that may be of another
# architecture: kmod, a shell, zstd and keyctl with their libraries, and busybox for all else.
set -eu
system=${1%/} root=$2
mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/etc" "$root/run" "$root/tmp"
for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$root/$directory"; done

# What a loader, and a line of modprobe.d that installs or removes a module, may call. modprobe and its like are kmod's, which
# busybox's own shell would not call: so there is another one.
applets='[ awk basename cat chgrp chmod chown chroot cmp cp cut date dd df diff dirname dmesg du echo egrep env expr false
  fgrep find grep gunzip gzip head hexdump hostname id kill killall ln logger ls md5sum mkdir mkfifo mknod mktemp more mount mv
  nice nohup nproc od pidof printenv printf ps pwd readlink realpath rm rmdir sed seq sha1sum sha256sum sha512sum sleep sort
  stat strings stty sync sysctl tac tail tar tee test timeout top touch tr true umount uname uniq unlzma unxz unzip uptime
  usleep wc which whoami xargs xxd xz xzcat yes zcat'
cp -L "$system/bin/dash" "$root/usr/bin/sh"
for program in busybox keyctl kmod; do cp -L "$system/bin/$program" "$root/usr/bin/"; done
cp -L "$system/usr/bin/zstd" "$root/usr/bin/"
for name in $applets; do ln -s busybox "$root/usr/bin/$name"; done
for name in depmod insmod lsmod modinfo modprobe rmmod; do ln -s ../bin/kmod "$root/usr/sbin/$name"; done

# Below usr/lib/TRIPLET; the loader of programs is where it is linked to.
for library in libc.so.6 libcrypto.so.3 libkeyutils.so.1 liblz4.so.1 liblzma.so.5 libz.so.1 libzstd.so.1; do
  for file in "$system"/usr/lib/*-linux-gnu*/"$library"; do
    directory=$(basename "$(dirname "$file")")
    mkdir -p "$root/usr/lib/$directory"
    cp -L "$file" "$root/usr/lib/$directory/"
  done
done
for file in "$system"/usr/lib64/ld-linux-*.so.* "$system"/usr/lib/ld-linux-*.so.*; do
  [ ! -e "$file" ] || cp -L "$file" "$root${file#"$system"}"
done

for package in busybox-static dash keyutils kmod libc6 libkeyutils1 liblz4-1 liblzma5 libssl3 libzstd1 zlib1g zstd; do
  mkdir -p "$root/usr/share/doc/$package"
  cp -L "$system/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done
