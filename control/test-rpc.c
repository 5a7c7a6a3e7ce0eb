/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/rpc.h"
#include "tests/cmocka.h"

static unsigned calls;

static int add(void *arg, json_t *params, json_t **ret_result,
	       char ret_error[static RPC_ERROR_BYTES])
{
	json_int_t a = json_integer_value(json_object_get(params, "a"));
	json_int_t b = json_integer_value(json_object_get(params, "b"));

	calls++;
	if (a < 0) {
		snprintf(ret_error, RPC_ERROR_BYTES, "a: too small");
		return RPC_E_FAILED;
	}
	*ret_result = json_integer(a + b);
	return 0;
}

static const struct rpc_param add_params[] = {
	{"a", "integer", true, "one"},
	{"b", "integer", false, "other"},
	{0},
};

static const struct rpc_method methods[] = {
	{"add", "adds", add_params, add},
};

static const struct rpc rpc = {
	.title = "test",
	.version = "1",
	.methods = methods,
	.count = 1,
};

static void check(const char *request, const char *wanted)
{
	char *answer = rpc_answer(&rpc, request, strlen(request));
	json_t *is = answer ? json_loads(answer, 0, NULL) : NULL;
	json_t *wants = wanted ? json_loads(wanted, 0, NULL) : NULL;

	if (!wanted)
		assert_null(answer);
	else if (!json_equal(is, wants))
		fail_msg("%s\nis answered by %s", request, answer);
	json_decref(is);
	json_decref(wants);
	free(answer);
}

/* An error of @code; its words may be any. */
static void check_error(const char *request, int code)
{
	char *answer = rpc_answer(&rpc, request, strlen(request));
	json_t *is = json_loads(answer, 0, NULL);
	json_t *error = json_object_get(is, "error");

	assert_int_equal(json_integer_value(json_object_get(error, "code")),
			 code);
	assert_true(strlen(json_string_value(
			    json_object_get(error, "message"))) > 0);
	assert_true(json_object_get(is, "id") != NULL);
	json_decref(is);
	free(answer);
}

#define HEAD "\"jsonrpc\":\"2.0\",\"method\":\"add\""

static void request_is_answered_with_its_id(void **state)
{
	check("{" HEAD ",\"params\":{\"a\":2,\"b\":3},\"id\":7}",
	      "{\"jsonrpc\":\"2.0\",\"result\":5,\"id\":7}");
	check("{" HEAD ",\"params\":[2,3],\"id\":\"x\"}",
	      "{\"jsonrpc\":\"2.0\",\"result\":5,\"id\":\"x\"}");
	check("{" HEAD ",\"params\":[2],\"id\":null}",
	      "{\"jsonrpc\":\"2.0\",\"result\":2,\"id\":null}");
	check("{" HEAD ",\"params\":[-1],\"id\":1}",
	      "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,"
	      "\"message\":\"a: too small\"}}");
}

static void notification_is_carried_out_and_not_answered(void **state)
{
	calls = 0;
	check("{" HEAD ",\"params\":[2]}", NULL);
	check("[{" HEAD ",\"params\":[2]},{" HEAD ",\"params\":[2]}]", NULL);
	assert_int_equal(calls, 3);
}

static void batch_is_answered_as_one(void **state)
{
	check("[{" HEAD ",\"params\":[2],\"id\":1},{" HEAD
	      ",\"params\":[2]},{" HEAD ",\"params\":[3],\"id\":2}]",
	      "[{\"jsonrpc\":\"2.0\",\"result\":2,\"id\":1},"
	      "{\"jsonrpc\":\"2.0\",\"result\":3,\"id\":2}]");
	check_error("[]", RPC_E_REQUEST);
}

static void what_is_wrong_has_the_code_of_the_specification(void **state)
{
	check_error("{", RPC_E_PARSE);
	check_error("\xff", RPC_E_PARSE);
	check_error("{\"id\":1,\"id\":2}", RPC_E_PARSE);
	check_error("1", RPC_E_PARSE);
	check_error("{}", RPC_E_REQUEST);
	check_error("{\"method\":\"add\",\"id\":1}", RPC_E_REQUEST);
	check_error("{\"jsonrpc\":\"2.0\",\"method\":1,\"id\":1}",
		    RPC_E_REQUEST);
	check_error("{" HEAD ",\"params\":1,\"id\":1}", RPC_E_REQUEST);
	check_error("{" HEAD ",\"params\":[1],\"id\":{}}", RPC_E_REQUEST);
	check_error("{\"jsonrpc\":\"2.0\",\"method\":\"sub\",\"id\":1}",
		    RPC_E_METHOD);
	check_error("{" HEAD ",\"id\":1}", RPC_E_PARAMS);
	check_error("{" HEAD ",\"params\":[\"1\"],\"id\":1}", RPC_E_PARAMS);
	check_error("{" HEAD ",\"params\":[1,2,3],\"id\":1}", RPC_E_PARAMS);
	check_error("{" HEAD ",\"params\":{\"a\":1,\"c\":1},\"id\":1}",
		    RPC_E_PARAMS);
}

static void methods_are_described(void **state)
{
	static const char request[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"rpc.discover\",\"id\":1}";
	char *answer = rpc_answer(&rpc, request, strlen(request));

	assert_non_null(strstr(answer, "\"openrpc\":\"1.2.6\""));
	assert_non_null(strstr(answer, "\"name\":\"add\""));
	assert_non_null(strstr(answer, "\"required\":true"));
	free(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_answered_with_its_id),
		cmocka_unit_test(notification_is_carried_out_and_not_answered),
		cmocka_unit_test(batch_is_answered_as_one),
		cmocka_unit_test(
			what_is_wrong_has_the_code_of_the_specification),
		cmocka_unit_test(methods_are_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
