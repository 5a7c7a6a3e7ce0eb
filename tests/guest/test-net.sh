#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A stock guest whose network card vhost-net serves, and the host at the other
# end of the TAP: ping, and TCP with files both ways. All of it, QEMU too, lives
# in a network namespace of its own.
#
#	test-net.sh DAEMON [packed|queues|restart|stream PROGRAM]
#
# With stream, PROGRAM (tests/guest/stream.c) then moves 1 GiB each way.

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

download_mib=48
upload_mib=24
pairs=1
device=
case $variant in
packed) device=,packed=on ;;
queues) pairs=2 device=,mq=on ;;
stream) download_mib=4 upload_mib=2 ;;
esac
stream=${3:-}
stream_bytes=$((1 << 30))
stream_pids=()

serve()
{
	guest_start_daemon "$guest_scratch/net.sock" --tap=rl0 \
		--socket-path="$guest_scratch/net.sock" --num-queue-pairs=$pairs
}

guest_init
ip link set lo up
queue_mode=
[ $pairs -eq 1 ] || queue_mode=multi_queue
ip tuntap add rl0 mode tap $queue_mode || guest_fail "no TAP"
ip addr add 10.9.0.1/24 dev rl0
ip link set rl0 up
mkdir "$guest_scratch/www"
head -c $((download_mib << 20)) /dev/urandom >"$guest_scratch/www/down"
sum=$(sha256sum <"$guest_scratch/www/down")
busybox httpd -f -p 10.9.0.1:8000 -h "$guest_scratch/www" &
web_pid=$!
# Closes when the guest has, and not before.
python3 - >"$guest_scratch/up" <<'EOF' &
import socket, sys
link, _ = socket.create_server(("10.9.0.1", 5000)).accept()
while data := link.recv(1 << 20):
    sys.stdout.buffer.write(data)
EOF
upload_pid=$!
if [ -n "$stream" ]; then
	"$stream" listen 10.9.0.1 5001 send $stream_bytes &
	stream_pids+=($!)
	"$stream" listen 10.9.0.1 5002 receive $stream_bytes &
	stream_pids+=($!)
fi
trap 'for pid in "$web_pid" "$upload_pid" "${stream_pids[@]}"; do
		guest_end_process "$pid"
	done
	guest_cleanup' EXIT

serve
guest_initramfs "$guest_root/tests/guest/net.scenario" \
	"$guest_scratch/initramfs.img" ${stream:+"$stream"}
guest_append="awaited=/sys/class/net/eth0 expect_queues=$pairs"
guest_append+=" expect_sum=${sum%% *} upload_mib=$upload_mib"
[ -z "$stream" ] || guest_append+=" stream_bytes=$stream_bytes"
guest_devices=($(guest_card "$guest_scratch/net.sock" 02:00:00:00:00:01 \
	$pairs "$device"))
guest_start "$guest_scratch/initramfs.img" -smp $pairs
if [ "$variant" = restart ]; then
	guest_wait_line "ping is answered" 60
	sleep 0.3 # into the transfer
	kill -KILL "$guest_daemon_pid"
	wait "$guest_daemon_pid" 2>/dev/null
	rm -f "$guest_scratch/net.sock"
	serve
fi
guest_finish 150
guest_stop_daemon
wait "$upload_pid"
said=$(tr -d '\r' <"$guest_scratch/console.log" |
	sed -n 's/^GUEST sent //p')
[ -n "$said" ] || guest_fail "the guest sent nothing"
[ "$(sha256sum <"$guest_scratch/up")" = "$said  -" ] ||
	guest_fail "what came is not what the guest sent"
for pid in "${stream_pids[@]}"; do
	wait "$pid" || guest_fail "1 GiB did not pass"
done
