/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ctl-client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/log.h"

static int connect_to(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = fd_take(&fd);
	return 0;
}

FILE *ctl_connect(const char *path)
{
	FILE *to = NULL;
	int fd = -1;
	int err = connect_to(path, &fd);

	if (err == 0)
		to = fdopen(fd, "r+");
	if (!to) {
		log_error("%s: %s: does a vswitch run with --control=%s?", path,
			  strerror(err ? -err : errno), path);
		fd_close(&fd);
	}
	return to;
}

json_t *ctl_ask(FILE *to, const char *method, json_t *params)
{
	json_t *request =
		json_pack("{s:s, s:i, s:s, s:o}", "jsonrpc", "2.0", "id", 1,
			  "method", method, "params", params);
	json_t *answer = NULL;
	char *line = NULL;
	size_t room = 0;
	int err = json_dumpf(request, to, JSON_COMPACT);

	json_decref(request);
	if (err == 0 && fputc('\n', to) != EOF && fflush(to) == 0 &&
	    getline(&line, &room, to) > 0)
		answer = json_loads(line, 0, NULL);
	free(line);
	return answer;
}

const json_t *ctl_result(const json_t *answer)
{
	const json_t *result = json_object_get(answer, "result");
	const json_t *error = json_object_get(answer, "error");
	const char *message =
		json_string_value(json_object_get(error, "message"));

	if (!result)
		log_error("%s", message ? message : "the switch hung up");
	return result;
}
