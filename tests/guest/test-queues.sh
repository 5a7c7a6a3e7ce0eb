#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A stock guest with two processors keeps both queues of its disk busy.
#
#	test-queues.sh DAEMON FORMAT

set -uo pipefail

guest_daemon=$1
format=$2
guest_root=$(cd "$(dirname "$0")/../.." && pwd)
. "$guest_root/tests/guest/guest.sh"

guest_init
guest_initramfs "$guest_root/tests/guest/queues.scenario" \
	"$guest_scratch/initramfs.img"
disk=$guest_scratch/disk.$format
guest_make_disk "$guest_scratch/made.raw" 128
qemu-img convert -f raw -O "$format" "$guest_scratch/made.raw" "$disk" ||
	guest_fail "qemu-img convert"
rm "$guest_scratch/made.raw"

guest_device=,num-queues=2
guest_append=expect_queues=2
guest_serve "$disk" "$format" --num-queues=2 --threads=2
guest_start "$guest_scratch/initramfs.img" -smp 2
guest_finish 100
guest_stop_daemon
guest_verify "$disk" "$format"
