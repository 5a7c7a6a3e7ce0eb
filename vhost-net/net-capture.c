/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost-net/net-capture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"

/* What passes by is nobody else's to read. */
enum {
	PRIVATE = 0600,
};

static int open_file(const char *path, int *ret_fd)
{
	/* A pipe without a reader is not waited for. */
	autoclose int fd = open(
		path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		PRIVATE);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	/* The writer is there to wait for a disk, and for nobody else. */
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	if (ftruncate(fd, 0) < 0)
		return -errno;
	*ret_fd = fd_take(&fd);
	return 0;
}

int net_capture_open(struct net_capture *capture,
		     const struct net_capture_options *options,
		     const char *name)
{
	int err;

	*capture = (struct net_capture){
		.options = options,
		.name = name,
		.fd = -1,
	};
	if (!options->file)
		return 0;
	err = open_file(options->file, &capture->fd);
	if (err == -EINVAL)
		log_error("--capture=%s: give an ordinary file", options->file);
	else if (err < 0)
		log_error("--capture=%s: %s", options->file, strerror(-err));
	return err;
}

int net_capture_start(struct net_capture *capture, unsigned lanes)
{
	const struct capture_config config = {
		.fd = capture->fd,
		.program = "vhost-net",
		.lanes = lanes,
		.max_interfaces = 1,
		.snap_bytes = capture->options->snap_bytes,
		.max_file_bytes = capture->options->limit_bytes,
	};
	uint32_t interface; /* 0: the only one */
	int err;

	if (capture->fd < 0)
		return 0;
	err = capture_new(&config, &capture->capture);
	if (err == 0)
		err = capture_add_interface(capture->capture, capture->name,
					    &interface);
	if (err < 0)
		log_error("%s: cannot capture: %s", capture->name,
			  strerror(-err));
	return err;
}

void net_capture_close(struct net_capture *capture)
{
	capture_free(capture->capture);
	capture->capture = NULL;
	fd_close(&capture->fd);
}

/* Why it has ended by itself; NULL: it has not. */
static const char *why_ended(const struct capture_counters *counters)
{
	if (counters->error)
		return strerror(-counters->error);
	return counters->full ? "the file has reached --capture-limit" : NULL;
}

void net_capture_toggle(const struct net_capture *capture)
{
	struct capture_counters counters;
	const char *ended;
	bool on;

	if (!capture->capture) {
		log_warning("%s: SIGUSR2 captures frames only if --capture "
			    "has named a file",
			    capture->name);
		return;
	}
	capture_count(capture->capture, &counters);
	ended = why_ended(&counters);
	if (ended) {
		log_warning("%s: the capture into %s has ended: %s",
			    capture->name, capture->options->file, ended);
		return;
	}
	on = !capture_is_on(capture->capture);
	capture_switch(capture->capture, on);
	log_info("%s: %s into %s", capture->name,
		 on ? "capturing" : "no longer capturing",
		 capture->options->file);
}

void net_capture_log(const struct net_capture *capture)
{
	struct capture_counters counters;
	const char *ended;

	if (!capture->capture)
		return;
	capture_count(capture->capture, &counters);
	ended = why_ended(&counters);
	log_info("%s: captured frames %llu dropped %llu bytes %llu%s%s",
		 capture->name, (unsigned long long)counters.frames,
		 (unsigned long long)counters.dropped,
		 (unsigned long long)counters.file_bytes, ended ? ": " : "",
		 ended ? ended : "");
}
