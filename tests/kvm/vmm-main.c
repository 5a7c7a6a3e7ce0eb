/* SPDX-License-Identifier: Apache-2.0 */
/* vmm: runs one guest image to its end. Options, and the last words. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kvm/vmm.h"

enum {
	DEFAULT_SECONDS = 60,
	MAX_SECONDS = 3600,
};

static const char usage[] =
	"usage: vmm [OPTION...] IMAGE [WORD...]\n"
	"Runs the guest IMAGE with WORDs as its command line.\n"
	"  --disk=SOCKET    a disk served by a vhost-user back-end, or\n"
	"  --net=SOCKET     a network card; up to 4 of both\n"
	"  --queues=N       of each disk, 1 to 4\n"
	"  --private        memory that is shared with nobody\n"
	"  --extra-mib=N    more memory to plug in while running\n"
	"  --seconds=N      how long the guest may take\n"
	"  --kvm=PATH       instead of /dev/kvm\n"
	"Ends with 0: the guest says it is well; 1: it is not; 2: usage; 3: no\n"
	"KVM; 4: no memory; 5: a back-end is gone; 6: the guest is lost; 7: time\n"
	"is up; 8: the host or KVM failed.\n";

/* A number from @least to @most; -1 otherwise. */
static long long number(const char *text, long long least, long long most)
{
	char *end;
	long long value = strtoll(text, &end, 10);

	return *text && !*end && value >= least && value <= most ? value : -1;
}

static bool add_backend(struct vmm_options *options, enum frontend_device kind,
			const char *socket)
{
	if (options->backend_count == VMM_MAX_DEVICES)
		return false;
	options->backends[options->backend_count++] =
		(struct vmm_backend){kind, socket};
	return true;
}

static bool set_option(struct vmm_options *options, int option, const char *arg)
{
	long long value = 0;

	switch (option) {
	case 'd':
		return add_backend(options, FRONTEND_BLK, arg);
	case 'n':
		return add_backend(options, FRONTEND_NET, arg);
	case 'q':
		value = number(arg, 1, VMM_MAX_QUEUES);
		options->queues = value;
		break;
	case 'p':
		options->private_memory = true;
		break;
	case 'm':
		value = number(arg, 0, INT32_MAX);
		options->extra_mib = value;
		break;
	case 's':
		value = number(arg, 1, MAX_SECONDS);
		options->seconds = value;
		break;
	case 'k':
		options->kvm_path = arg;
		break;
	default:
		return false;
	}
	return value >= 0;
}

static bool join_words(char *to, size_t bytes, char **words, int count)
{
	size_t used = 0;

	*to = '\0';
	for (int i = 0; i < count; i++) {
		int added = snprintf(to + used, bytes - used, "%s%s",
				     i > 0 ? " " : "", words[i]);

		if (added < 0 || (size_t)added >= bytes - used)
			return false;
		used += added;
	}
	return true;
}

static bool parse(int argc, char **argv, struct vmm_options *options,
		  char *command, size_t bytes)
{
	static const struct option known[] = {
		{"disk", required_argument, NULL, 'd'},
		{"net", required_argument, NULL, 'n'},
		{"queues", required_argument, NULL, 'q'},
		{"private", no_argument, NULL, 'p'},
		{"extra-mib", required_argument, NULL, 'm'},
		{"seconds", required_argument, NULL, 's'},
		{"kvm", required_argument, NULL, 'k'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "+", known, NULL)) >= 0)
		if (!set_option(options, option, optarg))
			return false;
	if (optind == argc)
		return false;
	options->image = argv[optind];
	options->command = command;
	/* A back-end cannot see memory that is shared with nobody. */
	return join_words(command, bytes, argv + optind + 1,
			  argc - optind - 1) &&
	       !(options->private_memory && options->backend_count > 0);
}

int main(int argc, char **argv)
{
	char command[MACHINE_COMMAND_BYTES];
	struct vmm_options options = {
		.kvm_path = "/dev/kvm",
		.queues = 1,
		.seconds = DEFAULT_SECONDS,
	};
	enum vmm_status status;
	struct vmm vmm;

	if (!parse(argc, argv, &options, command, sizeof(command))) {
		fputs(usage, stderr);
		return VMM_USAGE;
	}
	status = vmm_open(&vmm, &options);
	if (status == VMM_OK) {
		status = vmm_run(&vmm);
		fprintf(stderr,
			"vmm: exits: ports %llu, mmio %llu, msr %llu, "
			"hypercall %llu, other %llu\n",
			(unsigned long long)vmm.exits[MACHINE_EXIT_PORTS],
			(unsigned long long)vmm.exits[MACHINE_EXIT_MMIO],
			(unsigned long long)vmm.exits[MACHINE_EXIT_MSR],
			(unsigned long long)vmm.exits[MACHINE_EXIT_HYPERCALL],
			(unsigned long long)vmm.exits[MACHINE_EXIT_OTHER]);
	}
	vmm_close(&vmm);
	return status;
}
