/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/temporary.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "base/bytes.h"

static const int deadly[] = {SIGINT,  SIGTERM, SIGHUP, SIGQUIT,
			     SIGPIPE, SIGXCPU, SIGXFSZ};
static const char *volatile paths[TEMPORARY_MAX];
static sigset_t mask_before;

/* Only what may be called in a handler. */
static void remove_and_die(int signal)
{
	const struct sigaction action = {.sa_handler = SIG_DFL};

	for (size_t i = 0; i < TEMPORARY_MAX; i++) {
		const char *path = paths[i];

		if (path)
			(void)unlink(path);
	}
	sigaction(signal, &action, NULL);
	raise(signal);
}

static void catch_signals(void)
{
	const struct sigaction action = {.sa_handler = remove_and_die};

	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++) {
		struct sigaction before;

		if (sigaction(deadly[i], NULL, &before) == 0 &&
		    before.sa_handler == SIG_DFL)
			sigaction(deadly[i], &action, NULL);
	}
}

bool temporary_add(const char *path)
{
	catch_signals();
	for (size_t i = 0; i < TEMPORARY_MAX; i++) {
		if (paths[i])
			continue;
		paths[i] = path;
		return true;
	}
	return false;
}

void temporary_forget(const char *path)
{
	for (size_t i = 0; i < TEMPORARY_MAX; i++)
		if (path && paths[i] == path)
			paths[i] = NULL;
}

void temporary_hold(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		sigaddset(&mask, deadly[i]);
	pthread_sigmask(SIG_BLOCK, &mask, &mask_before);
}

void temporary_release(void)
{
	pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
}
