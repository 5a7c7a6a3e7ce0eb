# SPDX-License-Identifier: Apache-2.0
#
# Whether this host's KVM is of use, for run-guests and run-nested; to be sourced by
# any POSIX shell.

# kvm_lacks VMM IMAGES: why guests cannot run by /dev/kvm, on standard output; nothing
# if they can. There are hosts whose KVM is software that keeps level 0 out of the
# processor, and of such some forget IOPL, or never come back from a hypercall: the
# guest trap, which takes each way out of a guest, ends on none of them. A fault of ours
# at which it does not end is seen all the same: the guests run nested then.
kvm_lacks()
{
	if ! { [ -c /dev/kvm ] && [ -w /dev/kvm ]; }; then
		echo "no /dev/kvm that we may use"
		return
	fi
	kvm_said=$("$1" --seconds=20 "$2/guest-trap" 2>&1 </dev/null) ||
		echo "guests do not get on with this /dev/kvm ($(echo "$kvm_said" |
			tr -d '\r' | grep -e '^guest:' -e '^vmm: the' | head -n 1))"
}
