#!/bin/sh
# report-trust.sh report|watch: says what the node trusts, as lines `name=value`, in the last words of its container.
#   report  says it once: the init container
#   watch   waits, and ends with a new report as soon as the facts have changed, after which Kubernetes starts it again
# KMM_PUBLISHER is `labels`, or `nfd` where Node Feature Discovery reads the lines from its features.d.
proc=/host/proc sys=/host/sys state=/run/kmm-trust features=/host/features.d

secure_boot() {
  # A machine without UEFI has no Secure Boot.
  if [ ! -d $sys/firmware ]; then return; fi
  if [ ! -d $sys/firmware/efi ]; then
    echo false
    return
  fi
  # Four bytes of attributes, then the value. Files of efivarfs cannot be sought in, so od must not skip the attributes.
  variable=$sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
  case $(od -An -tu1 -N5 $variable 2>/dev/null | awk '{ print $5 }') in
    1) echo true ;;
    0) echo false ;;
  esac
}
lockdown() { sed -n 's/.*\[\([a-z]*\)\].*/\1/p' $sys/kernel/security/lockdown 2>/dev/null; }
sig_enforce() {
  case $(cat $sys/module/module/parameters/sig_enforce 2>/dev/null) in
    Y) echo true ;;
    N) echo false ;;
  esac
}

# members RING: prints the numbers of the keys in a keyring, in hex as in /proc/keys.
members() {
  ring=$(awk -v name="$1:" '$8 == "keyring" && $9 == name { print $1; exit }' $proc/keys)
  [ -n "$ring" ] || return 0
  for serial in $(keyctl rlist "0x$ring" 2>/dev/null); do printf '%08x\n' "$serial"; done
}
# Makes identifiers of numbers: /proc/keys has them between the subject and the algorithm.
identifiers() {
  while read -r serial; do
    sed -n "s/^$serial .* asymmetri[^ ]* .*: \([0-9a-f]\{2,62\}\): X509\..*/\1/p" $proc/keys
  done
}
keys() {
  trusted=$(for ring in .machine .secondary_trusted_keys .builtin_trusted_keys; do members $ring; done | identifiers)
  for id in $trusted; do echo "key-$id=true"; done
  for id in $(members .platform | identifiers); do
    printf '%s\n' "$trusted" | grep -qx "$id" || echo "key-$id=platform"
  done
}

say() { [ -z "$2" ] || echo "$1=$2"; }
look() {
  say secure-boot "$(secure_boot)"
  level=$(lockdown) enforce=$(sig_enforce)
  say lockdown "$level"
  say sig-enforce "$enforce"
  # Without a word of the kernel, nothing is said: in doubt a node is not selected.
  case $enforce/$level in
    true/* | */integrity | */confidentiality) say signature-required true ;;
    false/none) say signature-required false ;;
  esac
  # A container's last words have 4096 bytes.
  keys | sort -u | head -n 60
}

say_last() { cat $state/report >/dev/termination-log; }
# NFD may read at any moment, and ignores names that begin with a dot. It gets the names of our labels (labels.ts).
publish() {
  [ "$KMM_PUBLISHER" = nfd ] || return 0
  sed -e 's,^key-,key.trust.kmm.sigs.x-k8s.io/,' -e t -e 's,^,trust.kmm.sigs.x-k8s.io/,' $state/report >$features/.kmm-trust
  mv $features/.kmm-trust $features/kmm-trust
}
retract() { [ "$KMM_PUBLISHER" != nfd ] || rm -f $features/kmm-trust; }

if [ "$1" = report ]; then
  look >$state/report
  say_last
  publish
  exit
fi
trap 'retract; exit 0' TERM INT
while :; do
  sleep 60 &
  wait $!
  look >$state/new
  cmp -s $state/new $state/report && continue
  mv $state/new $state/report
  publish
  say_last
  exit 0
done
