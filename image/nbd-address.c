/* SPDX-License-Identifier: Apache-2.0 */
#include "image/nbd-address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/bytes.h"
#include "image/store.h"

enum {
	MAX_NAME_BYTES = 4096, /* of the protocol's strings */
	MAX_SOCKET_BYTES = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1,
	MAX_PORT = 65535,
};

#define DEFAULT_HOST "localhost"
#define DEFAULT_PORT "10809" /* IANA's for nbd */

static const struct scheme {
	const char *name; /* up to the "//" of a URI */
	bool is_unix, tls;
} schemes[] = {
	{"nbd:", false, false},	    {"nbd+tcp:", false, false},
	{"nbd+unix:", true, false}, {"nbds:", false, true},
	{"nbds+tcp:", false, true}, {"nbds+unix:", true, true},
};

static const struct scheme *find_scheme(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (strncmp(name, schemes[i].name, strlen(schemes[i].name)) ==
		    0)
			return &schemes[i];
	return NULL;
}

bool nbd_address_is(const char *name)
{
	return find_scheme(name) != NULL;
}

void nbd_address_deinit(struct nbd_address *address)
{
	free(address->socket);
	free(address->host);
	free(address->port);
	free(address->export_name);
	free(address->user);
	free(address->psk_file);
	free(address->certificates);
	*address = (struct nbd_address){0};
}

/* --- What an address may be ------------------------------------------------ */

static int check_port(const struct nbd_address *address, char **ret_error)
{
	char *end;
	unsigned long port = strtoul(address->port, &end, 10);

	if (address->port[0] >= '0' && address->port[0] <= '9' &&
	    *end == '\0' && port > 0 && port <= MAX_PORT)
		return 0;
	return store_fail(ret_error, -EINVAL,
			  "\"%s\" is no port: a number up to %d is expected",
			  address->port, MAX_PORT);
}

static int check(const struct nbd_address *address, char **ret_error)
{
	if (address->socket && address->socket[0] == '\0')
		return store_fail(ret_error, -EINVAL,
				  "the path of the socket is missing: "
				  "nbd+unix:///EXPORT?socket=PATH");
	if (address->socket && strlen(address->socket) > MAX_SOCKET_BYTES)
		return store_fail(ret_error, -EINVAL,
				  "the path of the socket has more than the "
				  "%d bytes that a socket's may have",
				  (int)MAX_SOCKET_BYTES);
	if (strlen(address->export_name) > MAX_NAME_BYTES)
		return store_fail(ret_error, -EINVAL,
				  "the export's name has more than %d bytes",
				  MAX_NAME_BYTES);
	if (!address->tls &&
	    (address->user || address->psk_file || address->certificates))
		return store_fail(ret_error, -EINVAL,
				  "a user and keys are for nbds: and "
				  "nbds+unix: addresses");
	return address->socket ? 0 : check_port(address, ret_error);
}

int nbd_address_complete(struct nbd_address *address, char **ret_error)
{
	int err = 0;

	if (!address->socket && !address->host)
		address->host = strdup(DEFAULT_HOST);
	if (!address->socket && !address->port)
		address->port = strdup(DEFAULT_PORT);
	if (!address->export_name)
		address->export_name = strdup("");
	if (!address->export_name ||
	    (!address->socket && (!address->host || !address->port)))
		err = -ENOMEM;
	if (err == 0)
		err = check(address, ret_error);
	if (err)
		nbd_address_deinit(address);
	return err;
}

/* --- URIs ------------------------------------------------------------------ */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The byte that "%XX" at @text stands for; 0 (which none may) or less: none. */
static int escaped(const char *text, size_t length)
{
	int high = length > 2 ? hex_digit(text[1]) : -1;
	int low = high >= 0 ? hex_digit(text[2]) : -1;

	return low < 0 ? -1 : high * 16 + low;
}

/* @length bytes of a URI, decoded, as *@ret, in place of what it was. */
static int decode(const char *text, size_t length, char **ret, char **ret_error)
{
	char *to = malloc(length + 1);
	size_t count = 0;

	if (!to)
		return -ENOMEM;
	for (size_t i = 0; i < length; i++) {
		int byte = (unsigned char)text[i];

		if (byte == '%') {
			byte = escaped(text + i, length - i);
			i += 2;
		}
		if (byte <= 0) {
			free(to);
			return store_fail(ret_error, -EINVAL,
					  "a '%%' is followed by two "
					  "hexadecimal digits, which are not "
					  "00: \"%%25\" stands for itself");
		}
		to[count++] = (char)byte;
	}
	to[count] = '\0';
	free(*ret);
	*ret = to;
	return 0;
}

static char **parameter(struct nbd_address *address, const char *name,
			size_t length)
{
	const struct {
		const char *name;
		char **to;
	} known[] = {
		{"socket", &address->socket},
		{"tls-psk-file", &address->psk_file},
		{"tls-certificates", &address->certificates},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i].name) == length &&
		    strncmp(name, known[i].name, length) == 0)
			return known[i].to;
	return NULL;
}

/* "socket=PATH&tls-psk-file=FILE" */
static int parse_query(struct nbd_address *address, const char *query,
		       char **ret_error)
{
	int err = 0;

	while (*query && err == 0) {
		size_t length = strcspn(query, "&;");
		size_t name = strcspn(query, "=&;");
		char **to = parameter(address, query, name);

		if (!to || name == length)
			return store_fail(ret_error, -EINVAL,
					  "unknown parameter in the query: "
					  "socket=PATH, tls-psk-file=FILE and "
					  "tls-certificates=FOLDER are known");
		err = decode(query + name + 1, length - name - 1, to,
			     ret_error);
		query += length + (query[length] != '\0');
	}
	return err;
}

/* "[::1]:10809", "host", "" */
static int parse_host(struct nbd_address *address, const char *text,
		      size_t length, char **ret_error)
{
	bool bracket = length > 0 && text[0] == '[';
	const char *end = memchr(text, bracket ? ']' : ':', length);
	size_t host = end ? (size_t)(end - text) : length;
	size_t rest = bracket && end ? host + 1 : host; /* where ':' may be */
	int err = 0;

	if ((bracket && !end) || (rest < length && text[rest] != ':'))
		return store_fail(ret_error, -EINVAL,
				  "the host is HOST, HOST:PORT or "
				  "[ADDRESS]:PORT");
	if (host > (size_t)bracket)
		err = decode(text + bracket, host - bracket, &address->host,
			     ret_error);
	if (err == 0 && rest + 1 < length)
		err = decode(text + rest + 1, length - rest - 1, &address->port,
			     ret_error);
	return err;
}

/* "user@host:port" */
static int parse_authority(struct nbd_address *address, const char *text,
			   size_t length, char **ret_error)
{
	const char *at = memchr(text, '@', length);
	size_t user = at ? (size_t)(at - text) : 0;
	int err = 0;

	if (at)
		err = decode(text, user, &address->user, ret_error);
	if (at) {
		text += user + 1;
		length -= user + 1;
	}
	return err ? err : parse_host(address, text, length, ret_error);
}

static int parse_uri(struct nbd_address *address, const struct scheme *scheme,
		     const char *text, char **ret_error)
{
	size_t authority = strcspn(text, "/?#");
	const char *path = text + authority;
	size_t length = strcspn(path, "?#");
	const char *query = path + length;
	int err;

	address->tls = scheme->tls;
	err = parse_authority(address, text, authority, ret_error);
	if (err == 0 && length > 1)
		err = decode(path + 1, length - 1, &address->export_name,
			     ret_error);
	if (err == 0 && strchr(query, '#'))
		err = store_fail(ret_error, -EINVAL,
				 "a '#' in it is written \"%%23\"");
	if (err == 0 && *query == '?')
		err = parse_query(address, query + 1, ret_error);
	if (err)
		return err;
	if (scheme->is_unix && (address->host || address->port))
		return store_fail(ret_error, -EINVAL,
				  "a socket is on no host: three slashes are "
				  "expected, nbd+unix:///EXPORT?socket=PATH");
	if (scheme->is_unix && !address->socket)
		address->socket = strdup("");
	if (!scheme->is_unix && address->socket)
		return store_fail(ret_error, -EINVAL,
				  "a socket is for nbd+unix: addresses");
	return 0;
}

/* --- QEMU's old spelling ---------------------------------------------------- */

static int parse_old(struct nbd_address *address, const char *text,
		     char **ret_error)
{
	static const char unix_prefix[] = "unix:", name[] = ":exportname=";
	size_t prefix = sizeof(unix_prefix) - 1;
	const char *end = strstr(text, name);
	size_t length = end ? (size_t)(end - text) : strlen(text);

	if (end) {
		address->export_name = strdup(end + sizeof(name) - 1);
		if (!address->export_name)
			return -ENOMEM;
	}
	if (length >= prefix && strncmp(text, unix_prefix, prefix) == 0) {
		address->socket = strndup(text + prefix, length - prefix);
		return address->socket ? 0 : -ENOMEM;
	}
	if (!memchr(text, ':', length) || length == 0)
		return store_fail(ret_error, -EINVAL,
				  "nbd:HOST:PORT, nbd:unix:PATH or a URI such "
				  "as nbd://HOST/EXPORT is expected");
	return parse_host(address, text, length, ret_error);
}

int nbd_address_parse(const char *name, struct nbd_address *ret,
		      char **ret_error)
{
	const struct scheme *scheme = find_scheme(name);
	struct nbd_address address = {0};
	const char *rest;
	char *why = NULL;
	int err;

	if (!scheme)
		return store_fail(ret_error, -EINVAL, "%s: no NBD address",
				  name);
	rest = name + strlen(scheme->name);
	if (strncmp(rest, "//", 2) == 0)
		err = parse_uri(&address, scheme, rest + 2, &why);
	else if (scheme == schemes)
		err = parse_old(&address, rest, &why);
	else
		err = store_fail(&why, -EINVAL, "\"//\" is missing");
	if (err)
		nbd_address_deinit(&address);
	else
		err = nbd_address_complete(&address, &why);
	if (err == 0)
		*ret = address;
	else
		store_fail(ret_error, err, "%s: %s", name,
			   why ? why : strerror(-err));
	free(why);
	return err;
}

/* --- Formatting ------------------------------------------------------------- */

/* What need not be escaped, beside letters and digits. */
#define IN_AUTHORITY "-._~"
#define IN_REST	     "-._~/:@!$'()*+,="

static void put(FILE *out, const char *text, const char *plain)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || strchr(plain, c))
			fputc(c, out);
		else
			fprintf(out, "%%%02X", c);
	}
}

static void put_server(FILE *out, const struct nbd_address *address)
{
	bool bracket = address->host && strchr(address->host, ':');

	if (address->user) {
		put(out, address->user, IN_AUTHORITY);
		fputc('@', out);
	}
	if (address->socket)
		return;
	fputs(bracket ? "[" : "", out);
	put(out, address->host, bracket ? IN_AUTHORITY ":" : IN_AUTHORITY);
	fprintf(out, "%s:%s", bracket ? "]" : "", address->port);
}

static void put_query(FILE *out, const struct nbd_address *address)
{
	const struct {
		const char *name;
		const char *value;
	} all[] = {
		{"socket", address->socket},
		{"tls-psk-file", address->psk_file},
		{"tls-certificates", address->certificates},
	};
	char before = '?';

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!all[i].value)
			continue;
		fprintf(out, "%c%s=", before, all[i].name);
		put(out, all[i].value, IN_REST);
		before = '&';
	}
}

/* As QEMU writes it: no slash where the export has no name. */
char *nbd_address_format(const struct nbd_address *address)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fprintf(out, "nbd%s%s://", address->tls ? "s" : "",
		address->socket ? "+unix" : "");
	put_server(out, address);
	if (address->export_name[0]) {
		fputc('/', out);
		put(out, address->export_name, IN_REST);
	}
	put_query(out, address);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int nbd_address_resolve(const char *name, bool by_image, char **ret_address,
			char **ret_error)
{
	struct nbd_address address;
	int err = nbd_address_parse(name, &address, ret_error);

	if (err)
		return err;
	if (by_image && (address.psk_file || address.certificates)) {
		err = store_fail(ret_error, -EACCES,
				 "%s: an image may not name files with keys",
				 name);
	} else {
		*ret_address = nbd_address_format(&address);
		err = *ret_address ? 0 : -ENOMEM;
	}
	nbd_address_deinit(&address);
	return err;
}
