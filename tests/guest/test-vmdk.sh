#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A stock guest reads and writes files on a VMDK disk that vhost-blk serves.
#
#	test-vmdk.sh DAEMON SUBFORMAT|delta [QIMG]
#
# "delta" is the second link of a chain: what came with the disk is its parent's,
# which has to stay as it was. "vmfsSparse" and "seSparse" are made by QIMG, as
# qemu-img cannot.

set -uo pipefail

guest_daemon=$1
kind=$2
qimg=${3:-}
guest_root=$(cd "$(dirname "$0")/../.." && pwd)
. "$guest_root/tests/guest/guest.sh"

guest_init
guest_initramfs "$guest_root/tests/guest/files.scenario" \
	"$guest_scratch/initramfs.img"
disk=$guest_scratch/disk.vmdk
base=$guest_scratch/base.vmdk
mib=64
[ "$kind" != twoGbMaxExtentSparse ] || mib=2200 # two extents
guest_make_disk "$guest_scratch/made.raw" "$mib"
if [ "$kind" = delta ]; then
	qemu-img convert -f raw -O vmdk "$guest_scratch/made.raw" "$base" ||
		guest_fail "qemu-img convert"
	qemu-img create -q -f vmdk -b "$base" -F vmdk "$disk" ||
		guest_fail "qemu-img create"
	before=$(sha256sum <"$base")
elif [ -n "$qimg" ]; then
	"$qimg" convert -f raw -O vmdk -o "subformat=$kind" \
		"$guest_scratch/made.raw" "$disk" || guest_fail "qimg convert"
else
	qemu-img convert -f raw -O vmdk -o "subformat=$kind" \
		"$guest_scratch/made.raw" "$disk" ||
		guest_fail "qemu-img convert"
fi
rm "$guest_scratch/made.raw"

guest_serve "$disk" vmdk --allow-file="$guest_scratch"
guest_start "$guest_scratch/initramfs.img"
guest_finish 100
guest_stop_daemon
[ "$kind" != delta ] || [ "$(sha256sum <"$base")" = "$before" ] ||
	guest_fail "the parent was changed"
guest_verify "$disk" vmdk
[ -z "$qimg" ] || "$qimg" check -q -f vmdk "$disk" ||
	guest_fail "qimg check"
