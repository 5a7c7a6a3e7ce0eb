#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon is killed three times while a stock guest writes, and started
# again. QEMU reconnects, the in-flight region tells what was under way, and
# the guest loses nothing and sees no error.
#
# A QCOW2 image is sparse and grows meanwhile, unless "allocated" is given. What
# a killed daemon had given back may leak; that is put right before the check.
#
#	test-restart.sh DAEMON FORMAT [allocated]

set -uo pipefail

guest_daemon=$1
format=$2
sparse=4k
[ "${3:-}" != allocated ] || sparse=0
guest_root=$(cd "$(dirname "$0")/../.." && pwd)
. "$guest_root/tests/guest/guest.sh"

guest_init
guest_initramfs "$guest_root/tests/guest/restart.scenario" \
	"$guest_scratch/initramfs.img"
disk=$guest_scratch/disk.$format
guest_make_disk "$guest_scratch/made.raw" 128
qemu-img convert -S "$sparse" -f raw -O "$format" "$guest_scratch/made.raw" "$disk" ||
	guest_fail "qemu-img convert"
rm "$guest_scratch/made.raw"

guest_append=expect_rounds=16
guest_serve "$disk" "$format"
guest_start "$guest_scratch/initramfs.img"
for round in 3 7 11; do
	guest_wait_line "GUEST round $round" 60
	guest_kill_daemon
	guest_serve "$disk" "$format"
done
guest_finish 100
guest_stop_daemon
if grep -E "I/O error|blk_update_request" "$guest_scratch/console.log"; then
	guest_fail "the guest saw an error"
fi
[ "$format" = raw ] || qemu-img check -q -r leaks -f "$format" "$disk" ||
	guest_fail "qemu-img check finds more than leaks"
guest_verify "$disk" "$format"
