# SPDX-License-Identifier: Apache-2.0
#
# Machines and back-ends for run-guests; to be sourced by any POSIX shell,
# busybox's too, with
#
#	way		qemu or kvm
#	vmm images	our monitor, and the folder of the guest images
#	blk, peer	the vhost-blk and the peer to run
#	scratch		a folder
#
# set. Whatever is started is gone when the shell ends.

disks= # sockets of the machine to be started,
nets=  # and of its network cards, whose address in QEMU is
mac=
queues=1
ring=  # "packed" or nothing
qemu_memory=64M

die()
{
	echo "$*" >>"$scratch/why"
	return 1
}

# command_line NAME IMAGE WORD...: what starts a machine, one word a line, into
# $scratch/NAME.command.
command_line()
{
	local name=$1 image=$images/guest-$2 number=0 disk net
	shift 2
	[ -z "$ring" ] || set -- "$@" "$ring"
	if [ "$way" = kvm ]; then
		# More time than a busy host could need.
		set -- "$vmm" --queues="$queues" --seconds=120 \
			${vmm_options:-} \
			$(for disk in $disks; do echo "--disk=$disk"; done) \
			$(for net in $nets; do echo "--net=$net"; done) \
			"$image" "$@"
	else
		# The image as it is, by its PVH entry, on the smallest machine
		# that QEMU has; devices where Linux would be told of them.
		set -- timeout 120 qemu-system-x86_64 -nodefaults -no-user-config \
			-display none -no-reboot -accel tcg -m "$qemu_memory" \
			-M microvm,acpi=off,memory-backend=memory \
			-object "memory-backend-memfd,id=memory,size=$qemu_memory,share=on" \
			-global virtio-mmio.force-legacy=false \
			-device isa-debug-exit,iobase=0xf4,iosize=0x4 \
			-serial stdio -kernel "$image" -append "$*"
		for disk in $disks; do
			set -- "$@" -chardev "socket,id=disk$number,path=$disk" \
				-device "vhost-user-blk,chardev=disk$number,num-queues=$queues${ring:+,packed=on}"
			number=$((number + 1))
		done
		for net in $nets; do
			set -- "$@" -chardev "socket,id=net$number,path=$net" \
				-netdev "vhost-user,id=wire$number,chardev=net$number" \
				-device "virtio-net-device,netdev=wire$number,mac=$mac${ring:+,packed=on}"
			number=$((number + 1))
		done
	fi
	printf '%s\n' "$@" >"$scratch/$name.command"
}

# verdict STATUS: 0 if the guest said that it is well, whatever started it.
# QEMU's exit device makes of a value twice that, and one.
verdict()
{
	[ "$way" = kvm ] && return "$1"
	case $1 in
	1) return 0 ;;
	3) return 1 ;;
	*) return $((100 + $1 % 100)) ;;
	esac
}

# machine NAME IMAGE WORD...: runs a guest to its end, its serial line in
# $scratch/NAME.out.
machine()
{
	local name=$1 status=0
	command_line "$@"
	(
		set --
		while IFS= read -r word; do
			set -- "$@" "$word"
		done <"$scratch/$name.command"
		exec sh -c 'echo $$ >"$0"; exec "$@"' "$scratch/$name.runs" "$@"
	) <"${input:-/dev/null}" >"$scratch/$name.out" 2>"$scratch/$name.err" ||
		status=$?
	rm -f "$scratch/$name.runs"
	verdict "$status"
}

# machine_start NAME IMAGE WORD...: a machine beside others; what is written to
# descriptor 7 for the first, 8 for the second, is its serial input.
machine_start()
{
	local name=$1
	rm -f "$scratch/$name.in"
	mkfifo "$scratch/$name.in"
	: >"$scratch/$name.out"
	(
		# Not to be held open by those who write to others.
		exec 7>&- 8>&-
		input=$scratch/$name.in machine "$@"
		echo $? >"$scratch/$name.status"
	) &
}

# has_said NAME TEXT SECONDS: until the serial line has a line with TEXT.
has_said()
{
	local tries=$(($3 * 10))
	while ! grep -q "$2" "$scratch/$1.out" 2>/dev/null; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || die "$1 did not say: $2" || return 1
		[ ! -e "$scratch/$1.status" ] || die "$1 ended before: $2" ||
			return 1
		sleep 0.1
	done
}

# machine_wait NAME SECONDS: for its own end.
machine_wait()
{
	local tries=$(($2 * 10))
	while [ ! -s "$scratch/$1.status" ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || die "$1 did not end" || return 1
		sleep 0.1
	done
}

# machine_end NAME SECONDS: the same, and it has to be a good one.
machine_end()
{
	machine_wait "$@" || return 1
	[ "$(cat "$scratch/$1.status")" = 0 ] ||
		die "$1 ended with $(cat "$scratch/$1.status")"
}

# daemon NAME SOCKET COMMAND...: started, and there when SOCKET is.
daemon()
{
	local name=$1 socket=$2 tries=600
	shift 2
	rm -f "$socket"
	"$@" >"$scratch/$name.log" 2>&1 </dev/null &
	echo $! >"$scratch/$name.serves"
	while [ ! -S "$socket" ]; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] && kill -0 "$(cat "$scratch/$name.serves")" ||
			die "$name does not serve: $(cat "$scratch/$name.log")" ||
			return 1
		sleep 0.05
	done
}

# serve NAME OPTION...: a vhost-blk at $scratch/NAME.sock.
serve()
{
	local name=$1
	shift
	daemon "$name" "$scratch/$name.sock" \
		"$blk" --socket-path="$scratch/$name.sock" "$@"
}

# serve_end NAME: a polite end, with status 0.
serve_end()
{
	local pid status=0
	pid=$(cat "$scratch/$1.serves")
	kill "$pid"
	wait "$pid" || status=$?
	rm -f "$scratch/$1.serves"
	[ "$status" = 0 ] || die "$1: the daemon ended with $status"
}

# peer_start INTERFACE MACHINE: the host's end of a wire answers as that machine;
# to be waited for as one.
peer_start()
{
	(
		exec 7>&- 8>&-
		status=0
		sh -c 'echo $$ >"$0"; exec "$@"' "$scratch/peer.runs" \
			"$peer" "$@" >"$scratch/peer.log" 2>&1 || status=$?
		rm -f "$scratch/peer.runs"
		echo $status >"$scratch/peer.status"
	) &
}

# end_all: what still runs of machines and daemons.
end_all()
{
	local file
	for file in "$scratch"/*.runs "$scratch"/*.serves; do
		[ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null
	done
	wait 2>/dev/null
}
