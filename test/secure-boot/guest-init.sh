#!/bin/busybox sh
# The guest's first process: tries every module in /modules, in order, and reports on the second serial port.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t securityfs securityfs /sys/kernel/security
exec 3>/dev/ttyS1

report() {
	printf '@%s\n' "$*" >&3
}

encoded() {
	base64 | tr -d '\n'
}

report
report "boot release $(uname -r)"
report "boot secure-boot $(dmesg | grep -c 'secureboot: Secure boot enabled')"
report "boot lockdown $(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/security/lockdown)"
report "boot enforced $(cat /sys/module/module/parameters/sig_enforce)"

# Debian builds sha384 and sha512 as a module; the kernel would ask modprobe for it.
for support in /support/*.ko; do
	insmod "$support"
done

for module in /modules/*.ko; do
	number=$(basename "$module" .ko)
	dmesg -c >/dev/null
	insmod "$module" 2>/dev/null
	status=$?
	# The kernel lists what it loaded last first.
	name=$(sed -n '1s/ .*//p' /proc/modules)
	taint=-
	[ $status = 0 ] && taint=$(sed -n '1s/.*(\(.*\)).*/\1/p' /proc/modules)
	report "module $number $status ${taint:--} $(dmesg | sed 's/^\[[^]]*\] //' | uniq | encoded)="
	[ $status = 0 ] && rmmod "$name"
done
report end
sync
poweroff -f
