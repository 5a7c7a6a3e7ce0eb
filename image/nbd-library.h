/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libnbd, which is loaded when the first server is to be reached and not when the
 * program starts: a dozen libraries come with it (TLS, XML, Unicode), and to load
 * them takes three times as long as all else that a short command does.
 *
 * Its calls are made through `libnbd`, with libnbd's own declarations: nbd_close is
 * libnbd.close.
 */
#ifndef IMAGE_NBD_LIBRARY_H
#define IMAGE_NBD_LIBRARY_H

#include <libnbd.h>

#define NBD_LIBRARY_CALLS(CALL)    \
	CALL(add_meta_context)     \
	CALL(aio_block_status)     \
	CALL(aio_connect_tcp)      \
	CALL(aio_connect_unix)     \
	CALL(aio_disconnect)       \
	CALL(aio_flush)            \
	CALL(aio_get_direction)    \
	CALL(aio_get_fd)           \
	CALL(aio_is_closed)        \
	CALL(aio_is_connecting)    \
	CALL(aio_is_dead)          \
	CALL(aio_is_ready)         \
	CALL(aio_notify_read)      \
	CALL(aio_notify_write)     \
	CALL(aio_pread)            \
	CALL(aio_pwrite)           \
	CALL(aio_zero)             \
	CALL(can_fast_zero)        \
	CALL(can_flush)            \
	CALL(can_fua)              \
	CALL(can_meta_context)     \
	CALL(can_zero)             \
	CALL(close)                \
	CALL(create)               \
	CALL(get_block_size)       \
	CALL(get_errno)            \
	CALL(get_error)            \
	CALL(get_size)             \
	CALL(get_strict_mode)      \
	CALL(is_read_only)         \
	CALL(set_export_name)      \
	CALL(set_strict_mode)      \
	CALL(set_tls)              \
	CALL(set_tls_certificates) \
	CALL(set_tls_psk_file)     \
	CALL(set_tls_username)

struct nbd_library {
#define NBD_LIBRARY_CALL(name) typeof(nbd_##name) *name;
	NBD_LIBRARY_CALLS(NBD_LIBRARY_CALL)
#undef NBD_LIBRARY_CALL
};

/* Unchanged once nbd_library_load has succeeded; not to be used before. */
extern struct nbd_library libnbd;

/*
 * On any thread, as often as one likes: 0, or -ENOTSUP with *@ret_reason: what the
 * dynamic linker has against it, to be freed, or NULL.
 */
int nbd_library_load(char **ret_reason);

#endif
