#!/bin/busybox sh
# Mounts the node's disk, lays what differs between nodes on it, and goes on with the node's own first process.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod "$module"; done
n=0
until [ -b /dev/vdb ] || [ $n -gt 100 ]; do
	sleep 0.1
	n=$((n + 1))
done
mount -t ext4 /dev/vdb /new
cp -r /node/. /new/etc/node/
umount /proc
exec switch_root /new /etc/node/init
