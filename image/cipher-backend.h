/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What image/cipher.c wants of a library: a block cipher in a mode, with a key
 * that stays, one direction per context. A context is used by one thread at a
 * time.
 */
#ifndef IMAGE_CIPHER_BACKEND_H
#define IMAGE_CIPHER_BACKEND_H

#include "image/cipher.h"

enum {
	CIPHER_MAX_BLOCK_BYTES = 16,
};

struct cipher_backend {
	/* NULL if the library lacks the combination, or memory. */
	void *(*context_new)(enum cipher_algorithm algorithm,
			     enum cipher_mode mode, bool encrypts,
			     const uint8_t *key, size_t key_bytes);
	void (*context_free)(void *context);
	/*
	 * @bytes in place; @iv has as many as a block, and is ignored by ECB.
	 * False if the library failed.
	 */
	bool (*crypt)(void *context, bool encrypts, const uint8_t *iv,
		      void *data, size_t bytes);
};

extern const struct cipher_backend cipher_openssl;
extern const struct cipher_backend cipher_gcrypt; /* if HAVE_GCRYPT */
extern const struct cipher_backend cipher_nettle; /* if HAVE_NETTLE */

#endif
