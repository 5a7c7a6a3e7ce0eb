/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rpc.h"

#include <stdio.h>
#include <string.h>

/* --- answers ----------------------------------------------------------------- */

static json_t *answer_error(json_t *id, int code, const char *message)
{
	return json_pack("{s:s, s:{s:i, s:s}, s:O}", "jsonrpc", "2.0", "error",
			 "code", code, "message", message, "id",
			 id ? id : json_null());
}

static json_t *answer_result(json_t *id, json_t *result)
{
	return json_pack("{s:s, s:o, s:O}", "jsonrpc", "2.0", "result", result,
			 "id", id);
}

/* --- rpc.discover ------------------------------------------------------------ */

static json_t *describe_params(const struct rpc_param *param)
{
	json_t *list = json_array();

	for (; param && param->name; param++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:b, s:{s:s}}", "name",
					param->name, "summary", param->summary,
					"required", (int)param->required,
					"schema", "type", param->type));
	return list;
}

static json_t *describe(const struct rpc *rpc)
{
	json_t *methods = json_array();

	for (size_t i = 0; i < rpc->count; i++) {
		const struct rpc_method *method = &rpc->methods[i];

		json_array_append_new(
			methods,
			json_pack("{s:s, s:s, s:o, s:{s:s, s:{}}}", "name",
				  method->name, "summary", method->summary,
				  "params", describe_params(method->params),
				  "result", "name", "result", "schema"));
	}
	return json_pack("{s:s, s:{s:s, s:s}, s:o}", "openrpc", "1.2.6", "info",
			 "title", rpc->title, "version", rpc->version,
			 "methods", methods);
}

/* --- parameters -------------------------------------------------------------- */

static bool has_type(const json_t *value, const char *type)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return strcmp(type, "object") == 0;
	case JSON_ARRAY:
		return strcmp(type, "array") == 0;
	case JSON_STRING:
		return strcmp(type, "string") == 0;
	case JSON_INTEGER:
		return strcmp(type, "integer") == 0;
	case JSON_TRUE:
	case JSON_FALSE:
		return strcmp(type, "boolean") == 0;
	default:
		return false;
	}
}

static const struct rpc_param *find_param(const struct rpc_method *method,
					  const char *name)
{
	const struct rpc_param *param = method->params;

	for (; param && param->name; param++)
		if (strcmp(param->name, name) == 0)
			return param;
	return NULL;
}

static int check_params(const struct rpc_method *method, json_t *params,
			char *ret_error)
{
	const struct rpc_param *param;
	const char *name;
	json_t *value;

	json_object_foreach(params, name, value)
	{
		param = find_param(method, name);
		if (!param)
			snprintf(ret_error, RPC_ERROR_BYTES,
				 "%s: there is no such parameter", name);
		else if (!has_type(value, param->type))
			snprintf(ret_error, RPC_ERROR_BYTES,
				 "%s: give a value of type %s", name,
				 param->type);
		else
			continue;
		return RPC_E_PARAMS;
	}
	for (param = method->params; param && param->name; param++) {
		if (!param->required || json_object_get(params, param->name))
			continue;
		snprintf(ret_error, RPC_ERROR_BYTES,
			 "%s: the parameter is missing", param->name);
		return RPC_E_PARAMS;
	}
	return 0;
}

/* By position, as the list has them: an object with their names. */
static json_t *name_params(const struct rpc_method *method, json_t *params)
{
	const struct rpc_param *param = method ? method->params : NULL;
	json_t *named = json_object();
	json_t *value;
	size_t i;

	if (json_is_object(params))
		json_object_update(named, params);
	json_array_foreach(params, i, value)
	{
		if (!param || !param->name) {
			json_decref(named);
			return NULL;
		}
		json_object_set(named, param->name, value);
		param++;
	}
	return named;
}

/* --- requests ---------------------------------------------------------------- */

static const struct rpc_method *find_method(const struct rpc *rpc,
					    const char *name)
{
	for (size_t i = 0; i < rpc->count; i++)
		if (strcmp(rpc->methods[i].name, name) == 0)
			return &rpc->methods[i];
	return NULL;
}

static int call(const struct rpc *rpc, const char *name, json_t *params,
		json_t **ret_result, char *ret_error)
{
	const struct rpc_method *method = find_method(rpc, name);
	json_t *named;
	int code;

	if (!method && strcmp(name, "rpc.discover") == 0) {
		*ret_result = describe(rpc);
		return 0;
	}
	if (!method) {
		snprintf(ret_error, RPC_ERROR_BYTES,
			 "%.100s: there is no such method; rpc.discover names "
			 "all",
			 name);
		return RPC_E_METHOD;
	}
	named = name_params(method, params);
	if (!named) {
		snprintf(ret_error, RPC_ERROR_BYTES,
			 "there are too many parameters");
		return RPC_E_PARAMS;
	}
	code = check_params(method, named, ret_error);
	if (code == 0)
		code = method->call(rpc->arg, named, ret_result, ret_error);
	json_decref(named);
	return code;
}

static bool is_id(const json_t *id)
{
	return !id || json_is_string(id) || json_is_integer(id) ||
	       json_is_real(id) || json_is_null(id);
}

/* NULL: a notification. */
static json_t *answer_one(const struct rpc *rpc, json_t *request)
{
	json_t *id = json_object_get(request, "id");
	const char *version =
		json_string_value(json_object_get(request, "jsonrpc"));
	const char *method =
		json_string_value(json_object_get(request, "method"));
	json_t *params = json_object_get(request, "params");
	char error[RPC_ERROR_BYTES] = "";
	json_t *result = NULL;
	int code;

	if (!version || strcmp(version, "2.0") != 0 || !method || !is_id(id) ||
	    (params && !json_is_object(params) && !json_is_array(params)))
		return answer_error(is_id(id) ? id : NULL, RPC_E_REQUEST,
				    "this is no request of JSON-RPC 2.0");
	code = call(rpc, method, params, &result, error);
	if (!id) {
		json_decref(result);
		return NULL;
	}
	return code ? answer_error(id, code, error) : answer_result(id, result);
}

static json_t *answer_batch(const struct rpc *rpc, json_t *batch)
{
	json_t *answers, *request;
	size_t i;

	if (json_array_size(batch) == 0 ||
	    json_array_size(batch) > RPC_MAX_BATCH)
		return answer_error(NULL, RPC_E_REQUEST,
				    "a batch has 1 to 64 requests");
	answers = json_array();
	json_array_foreach(batch, i, request)
	{
		json_t *answer = answer_one(rpc, request);

		if (answer)
			json_array_append_new(answers, answer);
	}
	if (json_array_size(answers) > 0)
		return answers;
	json_decref(answers);
	return NULL;
}

char *rpc_answer(const struct rpc *rpc, const char *text, size_t length)
{
	json_error_t error;
	json_t *request =
		json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	json_t *answer;
	char *bytes = NULL;

	if (!request)
		answer = answer_error(NULL, RPC_E_PARSE, error.text);
	else if (json_is_array(request))
		answer = answer_batch(rpc, request);
	else
		answer = answer_one(rpc, request);
	if (answer)
		bytes = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	json_decref(request);
	return bytes;
}
