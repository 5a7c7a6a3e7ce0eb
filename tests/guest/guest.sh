# SPDX-License-Identifier: Apache-2.0
#
# A stock Linux guest whose disk a vhost-user-blk daemon serves: what
# scripts/demo and the tests in this folder share. To be sourced by bash, with
#
#	guest_root	the checkout
#	guest_daemon	the vhost-blk to run
#
# set. Everything lives in one scratch folder and all processes are ours: both
# are gone when the shell exits, however it exits.
#
# Of several guests each has a folder, a daemon and a QEMU of its own: what is
# called after `guest_use NAME` is about that one.

guest_folder=
guest_name=.
guest_scratch=
declare -A guest_qemu_pids=() guest_daemon_pids=()
guest_qemu_pid=
guest_killed=0
guest_daemon_pid=
guest_kernel=
guest_accel=tcg

guest_fail()
{
	echo "FAILED: $*" >&2
	guest_show_logs >&2
	exit 1
}

guest_show_logs()
{
	local log
	for log in "$guest_folder"/*.log "$guest_folder"/*/*.log; do
		[ -s "$log" ] || continue
		echo "--- the end of ${log#"$guest_folder"/}:"
		tail -n 25 "$log" | tr -d '\r'
	done
}

# Ends one process of ours; TERM first, so that it can end its own affairs.
guest_end_process()
{
	local pid=$1 tries
	[ -n "$pid" ] || return 0
	kill "$pid" 2>/dev/null || return 0
	for ((tries = 0; tries < 50; tries++)); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -KILL "$pid" 2>/dev/null
}

# guest_use NAME: "." is whom it was about before the first.
guest_use()
{
	guest_qemu_pids[$guest_name]=$guest_qemu_pid
	guest_daemon_pids[$guest_name]=$guest_daemon_pid
	guest_name=$1
	guest_qemu_pid=${guest_qemu_pids[$1]:-}
	guest_daemon_pid=${guest_daemon_pids[$1]:-}
	guest_scratch=$guest_folder/$1
	mkdir -p "$guest_scratch"
}

guest_cleanup()
{
	local pid
	guest_use .
	for pid in "${guest_qemu_pids[@]}" "${guest_daemon_pids[@]}"; do
		guest_end_process "$pid"
	done
	wait 2>/dev/null
	[ -z "$guest_folder" ] || rm -rf "$guest_folder"
}

# guest_init: the scratch folder and the kernel. Exits with 77 where a guest
# cannot run at all, with the reason.
guest_init()
{
	local tool
	for tool in qemu-system-x86_64 qemu-img busybox mke2fs debugfs cpio; do
		PATH=$PATH:/sbin:/usr/sbin command -v "$tool" >/dev/null || {
			echo "skipped: $tool is not installed"
			exit 77
		}
	done
	PATH=$PATH:/sbin:/usr/sbin
	trap guest_cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	guest_folder=$(mktemp -d)
	guest_scratch=$guest_folder
	guest_kernel=$("$guest_root/scripts/guest-kernel") ||
		guest_fail "no kernel for the guest"
}

# guest_enter_namespace ARGUMENT...: the script begins again, with those, in a
# network namespace of its own. Exits with 77 where there can be none.
guest_enter_namespace()
{
	[ -z "${RINGLINE_IN_NAMESPACE:-}" ] || return 0
	command -v ip >/dev/null || {
		echo "skipped: ip is not installed"
		exit 77
	}
	unshare -n test -c /dev/net/tun 2>/dev/null || {
		echo "skipped: no namespace, or no /dev/net/tun"
		exit 77
	}
	# While there is a network, for the first time.
	"$guest_root/scripts/guest-kernel" >/dev/null ||
		guest_fail "no kernel for the guest"
	RINGLINE_IN_NAMESPACE=1 exec unshare -n "$0" "$@"
}

# guest_copy FILE TREE: into TREE, at the place where the host has it. What has two
# names is one file there, too: a library must not be loaded twice.
guest_copy()
{
	local file
	file=$(realpath -e "$1") || guest_fail "there is no $1"
	mkdir -p "$2/$(dirname "$file")" "$2/$(dirname "$1")"
	[ -e "$2/$file" ] || cp "$file" "$2/$file"
	[ "$1" = "$file" ] || ln -sf "$file" "$2/$1"
}

# guest_libraries PROGRAM TREE: those that it needs.
guest_libraries()
{
	local file
	ldd "$1" | grep -o '/[^ ]*' | grep -v ':$' | sort -u |
		while read -r file; do
			guest_copy "$file" "$2"
		done
}

# guest_initramfs SCENARIO OUT [PROGRAM...]: busybox, the virtio modules, and
# SCENARIO run by tests/guest/init; with programs of the host, and their libraries
# where it has them. guest_modules are more modules, by name; guest_files are files of
# the host, shared objects too, which go where it has them.
guest_modules=()
guest_files=()
guest_initramfs()
{
	local scenario=$1 out=$2 tree module path
	shift 2
	tree=$(mktemp -d "$guest_scratch/initramfs.XXXXXX")
	mkdir -p "$tree/bin" "$tree/modules"
	cp "$(command -v busybox)" "$tree/bin/busybox"
	cp "$guest_root/tests/guest/init" "$tree/init"
	cp "$scenario" "$tree/scenario"
	chmod 755 "$tree/init" "$tree/bin/busybox"
	# What a kernel has built in has no file.
	for module in virtio virtio_ring virtio_pci_modern_dev \
		virtio_pci_legacy_dev virtio_pci virtio_blk \
		failover net_failover virtio_net llc stp garp mrp 8021q \
		"${guest_modules[@]}"; do
		path=$(find "$guest_kernel/modules" -name "$module.ko")
		[ -n "$path" ] || continue
		cp "$path" "$tree/modules/"
	done
	for path in "$@"; do
		cp "$(command -v "$path")" "$tree/bin/" ||
			guest_fail "there is no $path"
		guest_libraries "$(command -v "$path")" "$tree"
	done
	for path in "${guest_files[@]}"; do
		guest_copy "$path" "$tree"
		guest_libraries "$path" "$tree"
	done
	(cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$out"
	rm -rf "$tree"
}

# guest_make_disk RAW MIB: an ext4 file system with a few files in it and their
# checksums in /SHA256SUMS.
guest_make_disk()
{
	local raw=$1 mib=$2 tree
	tree=$(mktemp -d "$guest_scratch/tree.XXXXXX")
	mkdir "$tree/shipped"
	cp "$guest_root/LICENSE" "$tree/shipped/licence.txt"
	head -c 3000000 /dev/urandom >"$tree/shipped/random.bin"
	head -c 2000000 /dev/zero >"$tree/shipped/zero.bin"
	(cd "$tree" && sha256sum shipped/* >SHA256SUMS)
	mke2fs -q -t ext4 -L ringline -d "$tree" "$raw" "${mib}M" >/dev/null ||
		guest_fail "mke2fs"
	rm -rf "$tree"
}

# guest_start_daemon SOCKET OPTION...: the daemon, which is there with that socket.
guest_start_daemon()
{
	local socket=$1 tries
	shift
	"$guest_daemon" "$@" >>"$guest_scratch/daemon.log" 2>&1 </dev/null &
	guest_daemon_pid=$!
	for ((tries = 0; tries < 400; tries++)); do
		[ ! -S "$socket" ] || return 0
		kill -0 "$guest_daemon_pid" 2>/dev/null || break
		sleep 0.05
	done
	guest_fail "the daemon did not open its socket"
}

# guest_serve IMAGE FORMAT [OPTION...]: starts the daemon (again) at
# $guest_scratch/blk.sock.
guest_serve()
{
	local image=$1 format=$2
	shift 2
	guest_start_daemon "$guest_scratch/blk.sock" \
		--socket-path="$guest_scratch/blk.sock" \
		--blk-file="$image" --format="$format" "$@"
}

# guest_stop_daemon: a polite end; the daemon must leave with status 0.
guest_stop_daemon()
{
	local pid=$guest_daemon_pid status=0
	guest_end_process "$pid"
	wait "$pid" || status=$?
	guest_daemon_pid=
	[ "$status" -eq 0 ] ||
		guest_fail "the daemon ended with status $status on SIGTERM"
}

# guest_kill_daemon: the daemon vanishes between two instructions.
guest_kill_daemon()
{
	guest_killed=1
	kill -KILL "$guest_daemon_pid"
	wait "$guest_daemon_pid" 2>/dev/null
	guest_daemon_pid=
	rm -f "$guest_scratch/blk.sock"
}

# guest_disk [PROPERTY...], guest_card SOCKET MAC [PAIRS [PROPERTY...]]: QEMU's
# options for the disk at $guest_scratch/blk.sock, and for a network card;
# properties of the device begin with a comma. QEMU 7.2 crashes under TCG with MSI-X and a vhost-user
# card: vectors=0.
guest_disk()
{
	echo -chardev "socket,id=disk,path=$guest_scratch/blk.sock,reconnect=1" \
		-device "vhost-user-blk-pci,chardev=disk${1:-}"
}

guest_card()
{
	echo -chardev "socket,id=net,path=$1,reconnect=1" \
		-netdev "vhost-user,id=n0,chardev=net,queues=${3:-1}" \
		-device "virtio-net-pci,netdev=n0,mac=$2,vectors=0${4:-}"
}

# guest_start INITRAMFS [QEMU-OPTION...]: boots the guest, its console going to
# $guest_scratch/console.log. guest_device holds what comes after
# "vhost-user-blk-pci,chardev=disk"; guest_devices, if set, takes the disk's place.
guest_devices=()
guest_memory_kib=$((256 << 10))
guest_start()
{
	local initramfs=$1 devices=("${guest_devices[@]}")
	shift
	[ ${#devices[@]} -gt 0 ] || devices=($(guest_disk "${guest_device:-}"))
	: >"$guest_scratch/console.log"
	qemu-system-x86_64 -nodefaults -no-user-config -display none \
		-no-reboot -M q35,memory-backend=mem -accel "$guest_accel" \
		-m "${guest_memory_kib}K" \
		-object "memory-backend-memfd,id=mem,size=${guest_memory_kib}K,share=on" \
		-kernel "$guest_kernel/vmlinuz" -initrd "$initramfs" \
		-append "console=ttyS0 quiet panic=-1 ${guest_append:-}" \
		"${devices[@]}" \
		-serial "file:$guest_scratch/console.log" "$@" \
		>"$guest_scratch/qemu.log" 2>&1 </dev/null &
	guest_qemu_pid=$!
}

# guest_wait_line PATTERN SECONDS: until the console has it, or the guest ends.
guest_wait_line()
{
	local pattern=$1 until=$((SECONDS + $2))
	while ! grep -q "$pattern" "$guest_scratch/console.log"; do
		kill -0 "$guest_qemu_pid" 2>/dev/null ||
			guest_fail "the guest ended before: $pattern"
		[ $SECONDS -lt $until ] ||
			guest_fail "the guest never said: $pattern"
		sleep 0.1
	done
}

# guest_finish SECONDS: waits for the guest's own, clean end.
guest_finish()
{
	local until=$((SECONDS + $1)) status=0
	while kill -0 "$guest_qemu_pid" 2>/dev/null; do
		[ $SECONDS -lt $until ] ||
			guest_fail "the guest did not end within $1 s"
		sleep 0.1
	done
	wait "$guest_qemu_pid" || status=$?
	guest_qemu_pid=
	[ "$status" -eq 0 ] || guest_fail "QEMU ended with status $status"
	grep -q "GUEST ok" "$guest_scratch/console.log" ||
		guest_fail "the guest's own checks failed"
	grep -q "reboot: Power down" "$guest_scratch/console.log" ||
		guest_fail "the guest did not power off cleanly"
}

# guest_probe_kvm: sets guest_accel to kvm if a stock guest really boots under
# it. A /dev/kvm proves nothing: some cannot run a kernel, and hang.
guest_probe_kvm()
{
	local initramfs=$guest_scratch/probe.img log=$guest_scratch/probe.console
	guest_accel=tcg
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return 0
	guest_initramfs /dev/null "$initramfs"
	qemu-img create -q -f raw "$guest_scratch/probe.raw" 1M
	timeout -k 1 "${1:-15}" qemu-system-x86_64 -nodefaults \
		-no-user-config -display none -no-reboot -M q35 -m 256 \
		-accel kvm -kernel "$guest_kernel/vmlinuz" \
		-initrd "$initramfs" -append "console=ttyS0 quiet panic=-1" \
		-drive "if=virtio,format=raw,file=$guest_scratch/probe.raw" \
		-serial "file:$log" >/dev/null 2>&1 </dev/null || return 0
	if grep -q "GUEST ok" "$log"; then
		guest_accel=kvm
	fi
}

# guest_verify IMAGE FORMAT: what the guest said it wrote is what the image
# holds, as seen by QEMU and e2fsprogs alone: the image is sound, so is the
# file system in it, and each "GUEST sha256 SUM FILE" line holds. A daemon that
# was killed may leave clusters that nothing uses (status 3), never a fault.
guest_verify()
{
	local image=$1 format=$2 raw=$guest_scratch/verify.raw sum file count=0
	local status=0
	if [ "$format" != raw ]; then
		qemu-img check -f "$format" "$image" || status=$?
		[ "$status" -eq 0 ] ||
			[ "$status" -eq 3 -a "$guest_killed" -eq 1 ] ||
			guest_fail "qemu-img check finds faults in the image"
	fi
	qemu-img convert -f "$format" -O raw "$image" "$raw" ||
		guest_fail "qemu-img convert cannot read the image"
	e2fsck -fn "$raw" >"$guest_scratch/e2fsck.log" 2>&1 ||
		guest_fail "e2fsck finds faults in the file system"
	while read -r sum file; do
		debugfs -R "dump \"$file\" $guest_scratch/dumped" "$raw" \
			>"$guest_scratch/debugfs.log" 2>&1
		[ "$(sha256sum <"$guest_scratch/dumped")" = "$sum  -" ] ||
			guest_fail "$file is not what the guest wrote"
		count=$((count + 1))
	done < <(tr -d '\r' <"$guest_scratch/console.log" |
		sed -n 's/^GUEST sha256 //p')
	[ "$count" -gt 0 ] || guest_fail "the guest told of no file"
	rm -f "$raw" "$guest_scratch/dumped"
	guest_verified=$count
}
