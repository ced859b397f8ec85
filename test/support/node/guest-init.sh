#!/bin/sh
# The first process of a node that is a virtual machine: network, containerd, kubelet. What differs between nodes
# is beside it, in /etc/node.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
modprobe efivarfs
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for directory in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$directory"; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /
# The machine is switched off without notice.
while sleep 2; do sync; done &

. /etc/node/settings
say() {
	echo "@node $*" >/dev/ttyS1
}
say "release $(uname -r)"
say "secure-boot $(dmesg | grep -c 'secureboot: Secure boot enabled')"
say "lockdown $(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/security/lockdown)"

for module in virtio_net overlay bridge br_netfilter veth nf_conntrack xt_conntrack xt_comment; do
	modprobe "$module"
done
hostname "$NAME"
busybox ip link set lo up
busybox ip link set eth0 up
busybox ip addr add 10.0.2.15/24 dev eth0
busybox ip addr add "$ADDRESS/32" dev lo
busybox ip route add default via 10.0.2.2

containerd --config /etc/node/containerd.toml >/tmp/containerd.log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.3; done
ctr --namespace k8s.io images ls -q | grep -qx "$PAUSE" ||
	ctr --namespace k8s.io images pull --plain-http --user "$REGISTRY_USER" "$PAUSE" >/dev/null
say containerd
while :; do
	kubelet --config /etc/node/kubelet.json --kubeconfig /etc/node/kubeconfig --root-dir /var/lib/kubelet \
		--hostname-override "$NAME" --node-ip "$ADDRESS" >>/tmp/kubelet.log 2>&1
	tail -n 5 /tmp/kubelet.log >/dev/console
	sleep 1
done
