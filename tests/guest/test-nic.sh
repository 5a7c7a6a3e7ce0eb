#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The switch in a guest, with NICs that QEMU makes: an Intel 82574 (e1000e), a
# vmxnet3 and a virtio-net, behind an IOMMU, driven through VFIO. Each is in a VLAN
# with a TAP of the guest's own (`internal`). The other ends are TAPs out here, in a
# network namespace: nic1 to nic3, with 10.9.N.1; the guest's are 10.9.N.2. What is
# done in the guest is in nic.scenario.
#
# By hand, as root:
#
#	tests/guest/test-nic.sh build-gcc/vswitch/vswitch [FILE [PROGRAM...]]
#
# FILE is run in the guest in place of check_all of nic.scenario, whose functions it
# has, and what it prints is shown; programs of the host (strace, tcpdump) are there,
# too. It may be one line:
#
#	bind_all; start_switch; ping -c 3 10.9.1.1; vswitch ctl port show

set -uo pipefail

guest_daemon=$1
by_hand=${2:-}
guest_root=$(cd "$(dirname "$0")/../.." && pwd)
. "$guest_root/tests/guest/guest.sh"

mib=4
cards=(e1000e vmxnet3 virtio-net-pci)
of_card=([2]=,disable-legacy=on,iommu_platform=on,mq=on,vectors=6)
of_tap=([2]=,queues=2)

# Drivers are plugins of DPDK's: which it looks for in a folder, with its version.
find_drivers()
{
	local folder driver
	folder=$(ldd "$guest_daemon" | awk '/librte_eal/ { print $3 }')
	folder=$(echo "$(dirname "$(realpath "$folder")")"/dpdk/pmds-*)
	for driver in bus_pci bus_vdev mempool_ring net_null \
		net_e1000 net_vmxnet3 net_virtio; do
		guest_files+=("$folder/librte_$driver.so")
	done
	ls "${guest_files[@]}" >/dev/null 2>&1 || {
		echo "skipped: DPDK's drivers are not in $folder"
		exit 77
	}
}

find_modules()
{
	guest_modules=(irqbypass vfio vfio_virqfd vfio_iommu_type1
		vfio-pci-core vfio-pci tun vmxnet3)
	[ -n "$(find "$guest_kernel/modules" -name vfio-pci.ko)" ] || {
		echo "skipped: the kernel for guests has no vfio-pci"
		exit 77
	}
}

# The NICs are devices 4 to 6 of the first bus. Two more are behind a bridge that
# makes them one IOMMU group.
machine()
{
	local i
	guest_devices=(-cpu max
		-device intel-iommu,intremap=on,caching-mode=on
		-device pcie-pci-bridge,id=bridge,addr=8
		-device e1000,bus=bridge,addr=1
		-device virtio-net-pci,bus=bridge,addr=2,disable-legacy=on,iommu_platform=on)
	for i in "${!cards[@]}"; do
		guest_devices+=(-netdev "tap,id=nic$((i + 1)),ifname=nic$((i + 1)),script=no,downscript=no${of_tap[$i]:-}"
			-device "${cards[$i]},netdev=nic$((i + 1)),addr=$((i + 4)),mac=02:00:00:00:0$((i + 1)):01${of_card[$i]:-}")
	done
}

# QEMU makes the TAPs. Frames are large: 9000 bytes in them.
set_addresses()
{
	local i tries
	for i in 1 2 3; do
		for ((tries = 0; tries < 600; tries++)); do
			! ip link show "nic$i" >/dev/null 2>&1 || break
			kill -0 "$guest_qemu_pid" 2>/dev/null || break
			sleep 0.1
		done
		ip link set "nic$i" mtu 9000 up &&
			ip addr add "10.9.$i.1/24" dev "nic$i" ||
			guest_fail "there is no nic$i"
	done
}

# A file of the guest's, by each of its addresses.
fetch_all()
{
	local i said
	said=$(tr -d '\r' <"$guest_scratch/console.log" |
		sed -n 's/^GUEST serving //p')
	for i in 1 2 3; do
		[ "$(timeout 60 busybox wget -q -O - "http://10.9.$i.2:8000/data" |
			sha256sum)" = "$said  -" ] ||
			guest_fail "what came by nic$i is not what the guest sent"
	done
}

# Of all NICs: on or off. The guest waits for what follows from it.
set_links()
{
	local i
	for i in 1 2 3; do
		"$guest_root/tests/guest/qmp" "$guest_scratch/qmp" set_link \
			"{\"name\": \"nic$i\", \"up\": $1}" >/dev/null ||
			guest_fail "set_link"
	done
}

guest_enter_namespace "$@"
guest_init
find_drivers
find_modules
ip link set lo up
mkdir "$guest_scratch/www"
head -c $((mib << 20)) /dev/urandom >"$guest_scratch/www/data"
sum=$(sha256sum <"$guest_scratch/www/data")
busybox httpd -f -p 8000 -h "$guest_scratch/www" &
web_pid=$!
trap 'guest_end_process "$web_pid"; guest_cleanup' EXIT

machine
cat "$guest_root/tests/guest/nic.scenario" "${by_hand:-/dev/stdin}" \
	>"$guest_scratch/scenario" <<<check_all
guest_memory_kib=$((1 << 20))
# Of interrupts through the IOMMU one may be late on a busy machine.
guest_append="no_timer_check intel_iommu=on awaited=/sys/bus/pci/devices/0000:00:06.0"
guest_append+=" mib=$mib expect_sum=${sum%% *}"
guest_initramfs "$guest_scratch/scenario" "$guest_scratch/initramfs.img" \
	"$guest_daemon" "${@:3}"
guest_start "$guest_scratch/initramfs.img" \
	-qmp "unix:$guest_scratch/qmp,server=on,wait=off"
set_addresses
if [ -n "$by_hand" ]; then
	tail --pid="$guest_qemu_pid" -n +1 -f "$guest_scratch/console.log"
	exit
fi
guest_wait_line "GUEST serving" 240
fetch_all
touch "$guest_scratch/www/fetched"
guest_wait_line "GUEST awaits no link" 120
set_links false
guest_wait_line "GUEST awaits links" 120
set_links true
guest_finish 240
