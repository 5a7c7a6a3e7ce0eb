#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A stock guest is moved from one QEMU to another, each with a vhost-net and a TAP
# of its own on one bridge, while TCP carries files both ways. Then the network is told
# where the guest is. Before that its link goes down and comes again, and frames of
# the MTU pass. All of it lives in a network namespace.
#
#	test-net-move.sh DAEMON [rarp]
#
# By default the guest announces itself, and has two pairs of queues and an MTU of
# 9000; rarp: the daemon does it for one that cannot, with one pair. Rings are split:
# QEMU 7.2 fails an assertion of its own when a link with packed ones goes down.

set -uo pipefail

guest_daemon=$1
variant=${2:-}
guest_root=$(cd "$(dirname "$0")/../.." && pwd)
. "$guest_root/tests/guest/guest.sh"

command -v python3 >/dev/null || {
	echo "skipped: python3 is not installed"
	exit 77
}
guest_enter_namespace "$@"

qmp=$guest_root/tests/guest/qmp
mac=52:54:00:09:00:02
mtu=9000
pairs=2
device=mq=on
wanted=arp
if [ "$variant" = rarp ]; then
	mtu=1500
	pairs=1
	device=guest_announce=off
	wanted=rarp
fi
# Again and again; slow enough that the guest moves in the midst of it.
mib=8
limits=(--send-bps=4M)

# QEMU's TCG, before 9.0, forgets to watch pages again whose marks it has taken, and
# with them what the guest writes there, if it takes 64 pages at a time (its commit
# 03bfc2188f06): guests were moved with pages of before. It takes them so of a
# memory that is a multiple of 256 KiB.
guest_memory_kib=$(((256 << 10) + 8))

pids=()
daemon_pids=()
cleanup()
{
	local i
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		guest_end_process "${pids[i]}"
	done
	guest_cleanup
}

# serve NAME: a daemon with the socket NAME.sock and a TAP of that name.
serve()
{
	guest_start_daemon "$guest_scratch/$1.sock" \
		--socket-path="$guest_scratch/$1.sock" --tap="$1" \
		--bridge=bridge --mtu=$mtu --num-queue-pairs=$pairs \
		"${limits[@]}"
	pids+=($guest_daemon_pid)
	daemon_pids+=($guest_daemon_pid)
}

# boot NAME [QEMU-OPTION...]: a QEMU on that daemon, with a monitor.
boot()
{
	local name=$1
	shift
	# QEMU 7.2 crashes under TCG with MSI-X and vhost-user: vectors=0.
	guest_devices=(
		-chardev "socket,id=net,path=$guest_scratch/$name.sock"
		-netdev "vhost-user,id=n0,chardev=net,queues=$pairs"
		-device "virtio-net-pci,netdev=n0,mac=$mac,vectors=0,host_mtu=$mtu,$device"
		-qmp "unix:$guest_scratch/$name.qmp,server=on,wait=off"
	)
	guest_start "$guest_scratch/initramfs.img" -smp $pairs "$@"
}

# set_link UP
set_link()
{
	"$qmp" "$guest_scratch/here.qmp" set_link \
		"{\"name\": \"n0\", \"up\": $1}" >/dev/null ||
		guest_fail "set_link"
}

# What the guest, or the daemon for it, sends by interface $1 to say where it is.
listen()
{
	exec python3 - "$1" "$mac" <<'END'
import socket, sys
mac = bytes.fromhex(sys.argv[2].replace(":", ""))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((sys.argv[1], 0))
print("listening", flush=True)
while True:
    try:
        frame, address = wire.recvfrom(65536)
    except OSError: # the interface is gone: the daemon has ended
        break
    if address[2] == socket.PACKET_OUTGOING or frame[6:12] != mac:
        continue
    if frame[12:14] == b"\x80\x35":
        print("rarp", flush=True)
    if frame[12:14] == b"\x08\x06" and frame[28:32] == frame[38:42]:
        print("arp", flush=True)
END
}

# wait_file PATTERN FILE SECONDS
wait_file()
{
	local until=$((SECONDS + $3))
	while ! grep -qx "$1" "$2"; do
		[ $SECONDS -lt $until ] || guest_fail "never came: $1"
		sleep 0.1
	done
}

guest_init
trap cleanup EXIT
ip link set lo up
ip link add bridge type bridge || {
	echo "skipped: no bridge can be made"
	exit 77
}
ip link set bridge mtu $mtu up
ip addr add 10.9.0.1/24 dev bridge
mkdir "$guest_scratch/www"
head -c $((mib << 20)) /dev/urandom >"$guest_scratch/www/down"
sum=$(sha256sum <"$guest_scratch/www/down")
busybox httpd -f -p 10.9.0.1:8000 -h "$guest_scratch/www" &
pids+=($!)
python3 - >"$guest_scratch/up.sums" <<'END' &
import hashlib, socket
server = socket.create_server(("10.9.0.1", 5000))
while True:
    link, _ = server.accept()
    sum = hashlib.sha256()
    while data := link.recv(1 << 20):
        sum.update(data)
    print(sum.hexdigest(), flush=True)
    link.close()
END
pids+=($!)

serve here
serve there
ip link set bridge mtu $mtu
listen there >"$guest_scratch/heard" &
pids+=($!)
guest_initramfs "$guest_root/tests/guest/net-move.scenario" \
	"$guest_scratch/initramfs.img"
guest_append="awaited=/sys/class/net/eth0 expect_queues=$pairs"
guest_append+=" expect_mtu=$mtu expect_sum=${sum%% *} mib=$mib"
boot here
guest_wait_line "ping of the MTU is answered" 120
set_link false
guest_wait_line "link is down" 60
set_link true
guest_wait_line "transferring" 60
wait_file listening "$guest_scratch/heard" 60

mv "$guest_scratch/console.log" "$guest_scratch/console-here.log"
mv "$guest_scratch/qemu.log" "$guest_scratch/qemu-here.log"
here_pid=$guest_qemu_pid
pids+=($here_pid)
boot there -incoming "unix:$guest_scratch/moving"
for ((tries = 0; tries < 600; tries++)); do
	[ ! -S "$guest_scratch/moving" ] || break
	sleep 0.05
done
"$qmp" "$guest_scratch/here.qmp" migrate-set-parameters \
	'{"max-bandwidth": 1000000000, "downtime-limit": 1000}' >/dev/null ||
	guest_fail "migrate-set-parameters"
"$qmp" "$guest_scratch/here.qmp" migrate \
	"{\"uri\": \"unix:$guest_scratch/moving\"}" >/dev/null ||
	guest_fail "migrate"
"$qmp" "$guest_scratch/here.qmp" moved >"$guest_scratch/moved.log" ||
	guest_fail "the guest was not moved"
"$qmp" "$guest_scratch/here.qmp" quit >/dev/null
wait "$here_pid"
wait_file $wanted "$guest_scratch/heard" 60
# What was under way meanwhile, and once more all of it from there.
guest_wait_line "transferred" 600
guest_wait_line "transferring" 60
touch "$guest_scratch/www/enough"
guest_finish 600
cat "$guest_scratch"/console-here.log "$guest_scratch"/console.log |
	tr -d '\r' | sed -n 's/^GUEST transferred //p' >"$guest_scratch/said"
cmp "$guest_scratch/said" "$guest_scratch/up.sums" ||
	guest_fail "what came is not what the guest sent"
for pid in "${daemon_pids[@]}"; do
	kill "$pid"
	wait "$pid" || guest_fail "a daemon ended with status $?"
done
[ ! -s "$guest_scratch/daemon.log" ] || guest_fail "a daemon complains"
