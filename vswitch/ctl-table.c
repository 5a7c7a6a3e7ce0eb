/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/ctl-table.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

static void show_list(const json_t *list, char ret_text[static CTL_CELL])
{
	json_t *member;
	size_t i, at = 0;

	json_array_foreach((json_t *)list, i, member)
	{
		const char *text = json_string_value(member);

		at += snprintf(ret_text + at, CTL_CELL - at, "%s%s",
			       i ? " " : "", text ? text : "?");
		if (at >= CTL_CELL)
			break;
	}
}

void ctl_show(const json_t *value, char ret_text[static CTL_CELL])
{
	const char *key;
	json_t *member;
	size_t at = 0;

	ret_text[0] = '\0';
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		snprintf(ret_text, CTL_CELL, "%s", json_string_value(value));
		break;
	case JSON_INTEGER:
		snprintf(ret_text, CTL_CELL, "%lld",
			 (long long)json_integer_value(value));
		break;
	case JSON_ARRAY:
		show_list(value, ret_text);
		break;
	case JSON_TRUE:
		strcpy(ret_text, "yes");
		break;
	case JSON_FALSE:
		strcpy(ret_text, "no");
		break;
	case JSON_OBJECT:
		json_object_foreach((json_t *)value, key, member)
		{
			at += snprintf(ret_text + at, CTL_CELL - at,
				       "%s%s=%lld", at ? " " : "", key,
				       (long long)json_integer_value(member));
			if (at >= CTL_CELL)
				break;
		}
		break;
	default:
		strcpy(ret_text, "-");
	}
	if (ret_text[0] == '\0')
		strcpy(ret_text, "-");
}

static void print_row(const json_t *row, const char *const *columns,
		      const int *widths)
{
	for (unsigned i = 0; columns[i]; i++) {
		char cell[CTL_CELL];

		if (row)
			ctl_show(json_object_get(row, columns[i]), cell);
		else
			snprintf(cell, sizeof(cell), "%s", columns[i]);
		printf("%s%-*s", i ? "  " : "", columns[i + 1] ? widths[i] : 0,
		       cell);
	}
	putchar('\n');
}

void ctl_print_table(const json_t *rows, const char *const *columns)
{
	int widths[CTL_COLUMNS] = {0};
	json_t *row;
	size_t at;

	for (unsigned i = 0; columns[i]; i++) {
		widths[i] = strlen(columns[i]);
		json_array_foreach((json_t *)rows, at, row)
		{
			char cell[CTL_CELL];

			ctl_show(json_object_get(row, columns[i]), cell);
			widths[i] = MAX(widths[i], (int)strlen(cell));
		}
	}
	print_row(NULL, columns, widths);
	json_array_foreach((json_t *)rows, at, row)
		print_row(row, columns, widths);
}
