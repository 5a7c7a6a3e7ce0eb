#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Three stock guests on one switch, in two VLANs, each with a TAP of the host: TCP
# between guests, and between a guest and the host, with files that are compared
# and iperf3; who is in the other VLAN, on a trunk, reaches and hears nobody,
# whatever tag it uses. All of it, QEMU too, lives in a network namespace of its
# own.
#
#	test-switch.sh VSWITCH

set -uo pipefail

guest_daemon=$1
guest_root=$(cd "$(dirname "$0")/../.." && pwd)
. "$guest_root/tests/guest/guest.sh"
guest_enter_namespace "$@"

mib=8
server=10.9.0.12
client=10.9.0.11
stranger=10.9.0.13

# The switch is "."'s daemon.
switch_config()
{
	cat <<-END
		ports:
		  - {name: host10, kind: internal, vlan: 10}
		  - {name: host20, kind: internal, vlan: 20}
		  - {name: client, kind: vhost-user, vlan: 10,
		     socket-path: $guest_folder/client.sock}
		  - {name: server, kind: vhost-user, vlan: 10,
		     socket-path: $guest_folder/server.sock}
		  - {name: apart, kind: vhost-user, vlan-mode: trunk, vlans: [20],
		     socket-path: $guest_folder/apart.sock}
	END
}

# boot NAME NUMBER ADDRESS HOST [QEMU-OPTION...]: the guest on the port of that name.
boot()
{
	local name=$1 mac=02:00:00:00:00:0$2
	guest_use "$name"
	guest_append="awaited=/sys/class/net/eth0 role=$name address=$3 host=$4"
	guest_append+=" server=$server client=$client stranger=$stranger"
	guest_append+=" mib=$mib expect_sum=$sum"
	guest_devices=($(guest_card "$guest_folder/$name.sock" "$mac"))
	shift 4
	guest_start "$guest_folder/initramfs.img" "$@"
}

guest_init
ip link set lo up
switch_config >"$guest_folder/switch.yaml"
guest_start_daemon "$guest_folder/apart.sock" \
	--config="$guest_folder/switch.yaml"
ip addr add 10.9.0.1/24 dev host10
ip addr add 10.20.0.1/24 dev host20
mkdir "$guest_folder/www"
head -c $((mib << 20)) /dev/urandom >"$guest_folder/www/data"
sum=$(sha256sum <"$guest_folder/www/data")
sum=${sum%% *}
busybox httpd -f -p 8000 -h "$guest_folder/www" &
web_pid=$!
trap 'guest_end_process "$web_pid"; guest_cleanup' EXIT

guest_initramfs "$guest_root/tests/guest/switch.scenario" \
	"$guest_folder/initramfs.img" iperf3
boot server 2 "$server" 10.9.0.1
boot client 1 "$client" 10.9.0.1
boot apart 3 10.20.0.13 10.20.0.1

guest_use client
guest_wait_line "GUEST asked" 240
grep -a "GUEST throughput" "$guest_scratch/console.log"
guest_use server
said=$(tr -d '\r' <"$guest_scratch/console.log" | sed -n 's/^GUEST serving //p')
[ "$(busybox wget -q -O - "http://$server:8000/data" | sha256sum)" = "$said  -" ] ||
	guest_fail "what came is not what the guest sent"
# The others are there now, if they can be heard.
touch "$guest_folder/www/go"
guest_use apart
guest_wait_line "GUEST nobody of the other VLAN answers" 120
touch "$guest_folder/www/end"
for name in server client apart; do
	guest_use "$name"
	guest_finish 100
done
guest_use .
guest_stop_daemon
