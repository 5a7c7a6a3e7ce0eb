/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processor's thread may be in the guest for ever. A second thread waits
 * for what the guest cannot know: a back-end's socket that is hung up, and the
 * end of the time that it was given. It leaves the reason and makes KVM_RUN
 * return: a signal does if the processor is in the guest, immediate_exit if it
 * is just about to enter.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tests/kvm/vmm.h"

enum {
	WAKE_SIGNAL = SIGUSR1,
	MS_PER_SECOND = 1000,
};

static void woken(int signal)
{
}

static void stop(struct vmm *vmm, enum vmm_status status)
{
	atomic_store(&vmm->stop_status, status);
	vmm->run->immediate_exit = 1;
	pthread_kill(vmm->vcpu_thread, WAKE_SIGNAL);
}

static int ms_until(uint64_t deadline_ns)
{
	uint64_t now = clock_ns();

	if (now >= deadline_ns)
		return 0;
	return (deadline_ns - now) / (NS_PER_SECOND / MS_PER_SECOND) + 1;
}

static void *watch(void *arg)
{
	struct vmm *vmm = arg;
	uint64_t deadline = clock_ns() + vmm->options->seconds * NS_PER_SECOND;
	struct pollfd fds[VMM_MAX_DEVICES + 1];
	unsigned count = vmm->device_count;
	int ready;

	for (unsigned i = 0; i < count; i++)
		fds[i] = (struct pollfd){.fd = vmm_vhost_fd(vmm->devices[i]),
					 .events = POLLRDHUP};
	fds[count] =
		(struct pollfd){.fd = vmm->watch_wake_fd, .events = POLLIN};
	do
		ready = poll(fds, count + 1, ms_until(deadline));
	while (ready < 0 && errno == EINTR);
	if (ready == 0) {
		fprintf(stderr, "vmm: the guest did not end within %u s\n",
			vmm->options->seconds);
		stop(vmm, VMM_TIME_OUT);
	} else if (!fds[count].revents) {
		for (unsigned i = 0; i < count; i++)
			if (fds[i].revents)
				fprintf(stderr,
					"vmm: the back-end at %s is gone\n",
					vmm->options->backends[i].socket);
		stop(vmm, VMM_BACKEND_LOST);
	}
	return NULL;
}

int vmm_watch_start(struct vmm *vmm)
{
	struct sigaction action = {.sa_handler = woken};
	int err;

	/* No SA_RESTART: KVM_RUN is to return. */
	sigaction(WAKE_SIGNAL, &action, NULL);
	vmm->vcpu_thread = pthread_self();
	vmm->watch_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vmm->watch_wake_fd < 0)
		return -errno;
	err = pthread_create(&vmm->watch_thread, NULL, watch, vmm);
	vmm->watched = err == 0;
	return -err;
}

void vmm_watch_stop(struct vmm *vmm)
{
	const uint64_t one = 1;

	if (vmm->watched &&
	    write(vmm->watch_wake_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(vmm->watch_thread, NULL);
	vmm->watched = false;
	fd_close(&vmm->watch_wake_fd);
}
