#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A stock guest reads and writes files on a disk that vhost-blk serves.
#
#	test-files.sh DAEMON FORMAT [packed]

set -uo pipefail

guest_daemon=$1
format=$2
ring=${3:-split}
guest_root=$(cd "$(dirname "$0")/../.." && pwd)
. "$guest_root/tests/guest/guest.sh"

guest_init
guest_initramfs "$guest_root/tests/guest/files.scenario" \
	"$guest_scratch/initramfs.img"
disk=$guest_scratch/disk.$format
copy=$guest_scratch/copy.raw
guest_make_disk "$guest_scratch/made.raw" 128
qemu-img convert -f raw -O "$format" "$guest_scratch/made.raw" "$disk" ||
	guest_fail "qemu-img convert"
rm "$guest_scratch/made.raw"
qemu-img create -q -f raw "$copy" 128M || guest_fail "qemu-img create"

if [ "$ring" = packed ]; then
	guest_device=,packed=on
	guest_append=expect_packed=1
fi
guest_serve "$disk" "$format"
guest_start "$guest_scratch/initramfs.img" \
	-drive "if=none,id=copy,format=raw,file=$copy" \
	-device virtio-blk-pci,drive=copy
guest_finish 100
guest_stop_daemon

qemu-img compare -q -f "$format" -F raw "$disk" "$copy" ||
	guest_fail "the image is not what the guest read"
guest_verify "$disk" "$format"
