/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/manage.h"

#include "qcow2/bitmap.h"
#include "qcow2/check.h"
#include "qcow2/resize.h"
#include "qcow2/snapshot.h"

#define CREATE IMAGE_OPTION_CREATE
#define AMEND  IMAGE_OPTION_AMEND
#define BOTH   (IMAGE_OPTION_CREATE | IMAGE_OPTION_AMEND)

/* QEMU's names, so that nobody has to learn others, in QEMU's order. */
static const struct image_option options[] = {
	{"encryption", IMAGE_OPTION_BOOL, CREATE,
	 "the legacy AES, no longer made: see encrypt.format", NULL, NULL},
	{"encrypt.format", IMAGE_OPTION_STRING, CREATE,
	 "how the guest's data is encrypted", "luks|aes", NULL},
	{"encrypt.key-secret", IMAGE_OPTION_STRING, CREATE,
	 "ID of the secret that holds the passphrase", NULL, NULL},
	{"encrypt.cipher-alg", IMAGE_OPTION_STRING, CREATE,
	 "the cipher and the length of its key, aes-256 if not given", NULL,
	 NULL},
	{"encrypt.cipher-mode", IMAGE_OPTION_STRING, CREATE,
	 "the cipher's mode, xts if not given", "xts|cbc|ctr|ecb", NULL},
	{"encrypt.ivgen-alg", IMAGE_OPTION_STRING, CREATE,
	 "how initial vectors are made, plain64 if not given",
	 "plain|plain64|essiv", NULL},
	{"encrypt.ivgen-hash-alg", IMAGE_OPTION_STRING, CREATE,
	 "the hash that essiv takes of the key, sha256 if not given", NULL,
	 NULL},
	{"encrypt.hash-alg", IMAGE_OPTION_STRING, CREATE,
	 "the hash of key slots, sha256 if not given", NULL, NULL},
	{"encrypt.iter-time", IMAGE_OPTION_NUMBER, BOTH,
	 "milliseconds that trying a passphrase shall take, 2000 if not given",
	 NULL, NULL},
	{"cluster_size", IMAGE_OPTION_SIZE, CREATE,
	 "cluster size, 512 to 2M bytes", NULL, "65536"},
	{"extended_l2", IMAGE_OPTION_BOOL, CREATE,
	 "map parts of clusters, 32 of each", NULL, "off"},
	{"preallocation", IMAGE_OPTION_STRING, CREATE,
	 "what is allocated beforehand", "off|metadata|falloc|full", NULL},
	{"compression_type", IMAGE_OPTION_STRING, CREATE,
	 "method of compressed clusters", "zlib|zstd", "zlib"},
	{"compression_level", IMAGE_OPTION_NUMBER, CREATE,
	 "effort spent on compressed clusters", NULL, NULL},
	{"size", IMAGE_OPTION_SIZE, BOTH, "virtual disk size", NULL, NULL},
	{"compat", IMAGE_OPTION_STRING, BOTH, "format version",
	 "0.10|1.1|v2|v3", NULL},
	{"backing_file", IMAGE_OPTION_STRING, BOTH, "file name of a base image",
	 NULL, NULL},
	{"backing_fmt", IMAGE_OPTION_STRING, BOTH, "format of the base image",
	 NULL, NULL},
	{"data_file", IMAGE_OPTION_STRING, BOTH,
	 "file that holds the guest's data", NULL, NULL},
	{"data_file_raw", IMAGE_OPTION_BOOL, BOTH,
	 "the data file is a raw image of the disk by itself", NULL, NULL},
	{"lazy_refcounts", IMAGE_OPTION_BOOL, BOTH,
	 "allow others to postpone refcount updates", NULL, "off"},
	{"refcount_bits", IMAGE_OPTION_NUMBER, BOTH,
	 "width of a refcount in bits", NULL, "16"},
	{"encrypt.state", IMAGE_OPTION_STRING, AMEND,
	 "what becomes of the key slots", "active|inactive", NULL},
	{"encrypt.keyslot", IMAGE_OPTION_NUMBER, AMEND,
	 "the key slot to change", NULL, NULL},
	{"encrypt.old-secret", IMAGE_OPTION_STRING, AMEND,
	 "ID of the secret that opens the image, or the slots to erase", NULL,
	 NULL},
	{"encrypt.new-secret", IMAGE_OPTION_STRING, AMEND,
	 "ID of the secret for a new key slot", NULL, NULL},
	{NULL, IMAGE_OPTION_STRING, 0, NULL, NULL, NULL},
};

const struct image_manage qcow2_manage = {
	.options = options,
	.create = qcow2_create_image,
	.measure = qcow2_measure,
	.facts = qcow2_facts,
	.features = qcow2_features,
	.is_sparse = qcow2_is_sparse,
	.check = qcow2_check,
	.amend = qcow2_amend,
	.set_backing = qcow2_set_backing,
	.make_empty = qcow2_make_empty,
	.bitmap_list = qcow2_bitmap_list,
	.bitmap_change = qcow2_bitmap_change,
	.bitmap_next = qcow2_bitmap_next,
	.bitmap_set = qcow2_bitmap_set,
	.resize = qcow2_resize,
	.snapshot_list = qcow2_snapshot_list,
	.snapshot_create = qcow2_snapshot_create,
	.snapshot_apply = qcow2_snapshot_apply,
	.snapshot_delete = qcow2_snapshot_delete,
};
