/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an NBD export is: a server (a TCP port or a socket of this machine),
 * the export's name on it, and what TLS needs. It is written in four ways:
 *
 *	nbd://HOST[:PORT]/EXPORT	nbd+unix:///EXPORT?socket=PATH
 *	nbds://…, nbds+unix://…		the same with TLS; USER@ before the host,
 *					tls-psk-file=FILE and
 *					tls-certificates=FOLDER in the query
 *	nbd:HOST:PORT[:exportname=X]	QEMU's old spelling
 *	nbd:unix:PATH[:exportname=X]
 *	server.type=unix,server.path=…	QEMU's options
 *
 * Two addresses are the same if they are formatted as the same text. Nothing
 * here does any I/O, or trusts what it is given. Sources: the NBD project's
 * doc/uri.md, RFC 3986, QEMU's qapi/block-core.json (BlockdevOptionsNbd).
 */
#ifndef IMAGE_NBD_ADDRESS_H
#define IMAGE_NBD_ADDRESS_H

#include <stdbool.h>

#include "image/option.h"

struct nbd_address {
	char *socket;	    /* path of a socket; or NULL: TCP */
	char *host;	    /* TCP; without the brackets of an IPv6 address */
	char *port;	    /* TCP; a number */
	char *export_name;  /* "": the server's default */
	bool tls;	    /* required */
	char *user;	    /* TLS; or NULL */
	char *psk_file;	    /* TLS; or NULL */
	char *certificates; /* TLS, a folder; or NULL */
};

/* Whether @name begins like one of the first three. */
bool nbd_address_is(const char *name);

/*
 * Takes @name apart. 0, -ENOMEM, or -EINVAL with *@ret_error as in
 * store_open_file.
 */
int nbd_address_parse(const char *name, struct nbd_address *ret,
		      char **ret_error);

/*
 * Of the settings server.type, server.path, server.host, server.port, export
 * and, as in old command lines, path, host and port, each after @prefix
 * ("file."). -EINVAL if they do not make one.
 */
int nbd_address_from_options(const struct image_options *options,
			     const char *prefix, struct nbd_address *ret,
			     char **ret_error);

/*
 * Sets what was left out, and checks all: for those who fill in an address
 * themselves. On failure, as of nbd_address_parse, it is given up.
 */
int nbd_address_complete(struct nbd_address *address, char **ret_error);

/* Whether @setting (without a prefix) is one of these. */
bool nbd_address_has_option(const char *setting);

/* The URI: one line that is safe to print; to be freed. NULL: no memory. */
char *nbd_address_format(const struct nbd_address *address);

/* See image_remote's resolve, in image/remote.h. */
int nbd_address_resolve(const char *name, bool by_image, char **ret_address,
			char **ret_error);

/* Accepts one that is all zeroes. */
void nbd_address_deinit(struct nbd_address *address);

#endif
