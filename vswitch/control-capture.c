/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/control-capture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "control/rpc-socket.h"
#include "vswitch/sniffer.h"
#include "vswitch/vswitch.h"

const struct rpc_param control_capture_params[] = {
	{"port", "string", true, "its name"},
	{"filter", "array", false,
	 "instructions of BPF, each of [code, jt, jf, k]"},
	{"snap", "integer", false, "bytes of a frame that are kept"},
	{0},
};

static int fail(char *ret_error, int code, const char *what)
{
	snprintf(ret_error, RPC_ERROR_BYTES, "%s", what);
	return code;
}

static bool read_number(const json_t *list, unsigned at, json_int_t most,
			json_int_t *ret)
{
	const json_t *value = json_array_get(list, at);

	*ret = json_integer_value(value);
	return json_is_integer(value) && *ret >= 0 && *ret <= most;
}

static bool read_instruction(const json_t *list, struct bpf_insn *ret)
{
	json_int_t code, jt, jf, k;

	if (json_array_size(list) != 4 ||
	    !read_number(list, 0, UINT16_MAX, &code) ||
	    !read_number(list, 1, UINT8_MAX, &jt) ||
	    !read_number(list, 2, UINT8_MAX, &jf) ||
	    !read_number(list, 3, UINT32_MAX, &k))
		return false;
	*ret = (struct bpf_insn){code, jt, jf, k};
	return true;
}

/* What a program does is not judged here: sniffers_add. */
static bool read_filter(const json_t *list, struct bpf_insn *filter)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (!read_instruction(json_array_get(list, i), &filter[i]))
			return false;
	return true;
}

static int add(struct vswitch *vswitch, const struct sniffer_config *config,
	       char *ret_error)
{
	switch (sniffers_add(vswitch_sniffers(vswitch), config)) {
	case 0:
		return 0;
	case -EINVAL:
		return fail(ret_error, RPC_E_PARAMS,
			    "filter: it is no program of BPF");
	case -ENOSPC:
		return fail(ret_error, RPC_E_FAILED,
			    "there are 8 captures already");
	default:
		return fail(ret_error, RPC_E_FAILED,
			    "there is no memory, or no descriptor");
	}
}

int control_capture(void *arg, json_t *params, json_t **ret_result,
		    char ret_error[static RPC_ERROR_BYTES])
{
	const char *name = json_string_value(json_object_get(params, "port"));
	const json_t *filter = json_object_get(params, "filter");
	const json_int_t snap =
		json_integer_value(json_object_get(params, "snap"));
	struct bpf_insn program[SNIFFER_MAX_INSTRUCTIONS];
	struct sniffer_config config = {
		.fd = rpc_socket_caller(),
		.port = name,
		.snap_bytes = snap,
		.filter = program,
		.filter_count = json_array_size(filter),
	};
	int err;

	if (vswitch_find_port(arg, name, &config.number) < 0) {
		snprintf(ret_error, RPC_ERROR_BYTES,
			 "%.64s: no port has this name", name);
		return RPC_E_FAILED;
	}
	if (snap < 0 || snap > CAPTURE_MAX_SNAP_BYTES)
		return fail(ret_error, RPC_E_PARAMS,
			    "snap: give 262144 bytes at most");
	if (config.filter_count > ARRAY_SIZE(program) ||
	    !read_filter(filter, program))
		return fail(ret_error, RPC_E_PARAMS,
			    "filter: give at most 4096 instructions of "
			    "[code, jt, jf, k]");
	err = add(arg, &config, ret_error);
	if (err == 0)
		*ret_result = json_pack("{s:s, s:s}", "port", name, "stream",
					"pcapng");
	return err;
}
