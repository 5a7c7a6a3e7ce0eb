/* SPDX-License-Identifier: Apache-2.0 */
#include "qcow2/create-options.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

unsigned qcow2_version_of(const char *compat)
{
	return strcmp(compat, "0.10") == 0 || strcmp(compat, "v2") == 0 ? 2 : 3;
}

/* Takes what is said of encryption into @o. */
static int take_encryption(const struct image_create_request *request,
			   struct qcow2_create_options *o, char **ret_error)
{
	const struct image_options *given = request->options;
	const char *format =
		image_options_string(given, "encrypt.format", NULL);

	if (image_options_bool(given, "encryption", false) ||
	    (format && strcmp(format, "aes") == 0))
		return store_fail(ret_error, -EINVAL,
				  "qcow2: the legacy AES encryption is not "
				  "safe, and no longer made: say "
				  "encrypt.format=luks");
	for (size_t i = 0; !format && i < given->count; i++)
		if (strncmp(given->settings[i].name, "encrypt.", 8) == 0)
			return store_fail(ret_error, -EINVAL,
					  "qcow2: %s wants encrypt.format=luks",
					  given->settings[i].name);
	if (!format)
		return 0;
	o->encrypted = true;
	return luks_create_options(given, "encrypt.", request->secrets,
				   &o->luks, ret_error);
}

static int check_data_file(const struct qcow2_create_options *o,
			   char **ret_error)
{
	if (o->data_raw && !o->data_name)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: data_file_raw wants a data_file");
	if (!o->data_name)
		return 0;
	if (!*o->data_name || strlen(o->data_name) > QCOW2_MAX_DATA_NAME)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: data_file wants a name of 1 to %d "
				  "bytes",
				  QCOW2_MAX_DATA_NAME);
	if (o->version < 3)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: data_file wants compat=1.1 or newer");
	if (o->data_raw && o->backing_name)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: a data_file that is raw has no "
				  "backing file: one or the other");
	if (o->data_raw && o->encrypted)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: a data_file that is encrypted is not "
				  "raw: one or the other");
	return 0;
}

static int check(const struct qcow2_create_options *o,
		 enum image_preallocation preallocation, char **ret_error)
{
	if (!is_power_of_two(o->cluster_bytes) ||
	    o->cluster_bytes < 1u << QCOW2_MIN_CLUSTER_BITS ||
	    o->cluster_bytes > 1u << QCOW2_MAX_CLUSTER_BITS)
		return store_fail(ret_error, -EINVAL,
				  "Cluster size must be a power of two between "
				  "512 and 2048k");
	if (!is_power_of_two(o->refcount_bits) || o->refcount_bits > 64)
		return store_fail(ret_error, -EINVAL,
				  "Refcount width must be a power of two and "
				  "may not exceed 64 bits");
	if (o->version < 3 && o->refcount_bits != 16)
		return store_fail(ret_error, -EINVAL,
				  "Different refcount widths than 16 bits "
				  "require compatibility level 1.1 or above "
				  "(use version=v3 or greater)");
	if (o->version < 3 && o->lazy_refcounts)
		return store_fail(ret_error, -EINVAL,
				  "Lazy refcounts only supported with "
				  "compatibility level 1.1 and above (use "
				  "version=v3 or greater)");
	if (o->version < 3 && o->compression != QCOW2_COMPRESSION_ZLIB)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: compression_type=zstd wants "
				  "compat=1.1 or newer");
	if (o->version < 3 && o->extended_l2)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: extended_l2 wants compat=1.1 or "
				  "newer");
	if (o->extended_l2 &&
	    o->cluster_bytes < 1u << QCOW2_MIN_EXTENDED_L2_CLUSTER_BITS)
		return store_fail(ret_error, -EINVAL,
				  "Extended L2 entries are only supported with "
				  "cluster sizes of at least 16384 bytes");
	/* Room without content is what sub-clusters alone can say. */
	if (o->backing_name && preallocation != IMAGE_PREALLOCATION_OFF &&
	    !o->extended_l2)
		return store_fail(ret_error, -EINVAL,
				  "Backing file and preallocation can only be "
				  "used at the same time if extended_l2 is "
				  "enabled");
	if (o->backing_format && !o->backing_name)
		return store_fail(ret_error, -EINVAL,
				  "qcow2: a backing format without a backing "
				  "file");
	return 0;
}

int qcow2_create_options_take(const struct image_create_request *request,
			      struct qcow2_create_options *ret_options,
			      enum image_preallocation *ret_preallocation,
			      char **ret_error)
{
	const struct image_options *given = request->options;
	const char *type =
		image_options_string(given, "compression_type", "zlib");
	uint64_t cluster = image_options_number(given, "cluster_size", 65536);
	uint64_t bits = image_options_number(given, "refcount_bits", 16);
	struct qcow2_create_options o = {
		.size_bytes = request->size_bytes
				      ? request->size_bytes
				      : image_options_number(given, "size", 0),
		.version = qcow2_version_of(
			image_options_string(given, "compat", "1.1")),
		.cluster_bytes = (uint32_t)MIN(cluster, UINT64_C(1) << 31),
		.refcount_bits = (unsigned)MIN(bits, UINT64_C(128)),
		.compression = strcmp(type, "zstd") == 0
				       ? QCOW2_COMPRESSION_ZSTD
				       : QCOW2_COMPRESSION_ZLIB,
		.lazy_refcounts =
			image_options_bool(given, "lazy_refcounts", false),
		.data_name = image_options_string(given, "data_file", NULL),
		.data_raw = image_options_bool(given, "data_file_raw", false),
		.extended_l2 = image_options_bool(given, "extended_l2", false),
		.backing_name = image_options_string(given, "backing_file",
						     request->backing_name),
		.backing_format = image_options_string(given, "backing_fmt",
						       request->backing_format),
	};
	int err = image_preallocation_parse(
		image_options_string(given, "preallocation", "off"),
		ret_preallocation);

	if (err == 0)
		err = check(&o, *ret_preallocation, ret_error);
	if (err == 0)
		err = take_encryption(request, &o, ret_error);
	if (err == 0)
		err = check_data_file(&o, ret_error);
	/* Who knows nothing of qcow2 writes anywhere in a raw file. */
	if (err == 0 && o.data_raw &&
	    *ret_preallocation == IMAGE_PREALLOCATION_OFF)
		*ret_preallocation = IMAGE_PREALLOCATION_METADATA;
	if (err == 0)
		*ret_options = o;
	return err;
}
