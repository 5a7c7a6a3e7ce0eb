/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encrypted images: a LUKS header in clusters of its own, sectors counted where
 * they lie in the file; or the legacy AES, whose key is the passphrase itself
 * and whose sectors are the guest's. The latter is only read.
 */
#ifndef QCOW2_CRYPT_H
#define QCOW2_CRYPT_H

#include "image/luks.h"
#include "qcow2/core.h"

/*
 * Sets image->cipher from the secrets in @o; a locked one for @o->no_key, and
 * for a check without secrets. -EACCES: no secret, or a wrong one.
 */
int qcow2_crypt_open(struct qcow2 *q, const struct image_open_options *o,
		     char **ret_error);

/* The facts "encrypt" and "encrypt.…"; nothing if it is not encrypted. */
int qcow2_crypt_facts(struct qcow2 *q, struct image_facts *facts);

/* Options "encrypt.…", if there are any: key slots. */
bool qcow2_crypt_is_amended(const struct image_options *options);
int qcow2_crypt_amend(struct qcow2 *q,
		      const struct image_amend_request *request);

#endif
