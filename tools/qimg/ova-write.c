/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/qimg/ova-write.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tools/qimg/tar.h"

enum {
	STEM_BYTES = 64,
	MEMBER_BYTES = STEM_BYTES + 16,
	OVF_BYTES = 8192, /* what the text leaves is spaces */
	DISK_OFFSET = TAR_BLOCK_BYTES + OVF_BYTES + TAR_BLOCK_BYTES,
	DIGEST_BYTES = 32,
	MANIFEST_BYTES = 512,
};

struct ova_writer {
	struct store store; /* the disk's */
	struct store *out;
	EVP_MD_CTX *context;
	uint64_t at; /* bytes of the disk */
	uint64_t capacity_bytes;
	char stem[STEM_BYTES + 1];
	char ovf[MEMBER_BYTES];
	char disk[MEMBER_BYTES];
	char manifest[MEMBER_BYTES];
};

static struct ova_writer *to_writer(struct store *store)
{
	return container_of(store, struct ova_writer, store);
}

/* --- The disk ----------------------------------------------------------- */

static int disk_write(struct store *store, uint64_t offset, const void *data,
		      size_t length)
{
	struct ova_writer *w = to_writer(store);

	if (offset != w->at)
		return -ESPIPE;
	if (!EVP_DigestUpdate(w->context, data, length))
		return -EIO;
	w->at += length;
	return store_write(w->out, DISK_OFFSET + offset, data, length);
}

static int disk_read(struct store *store, uint64_t offset, void *ret_data,
		     size_t length)
{
	return -ESPIPE;
}

static int disk_flush(struct store *store)
{
	return store_flush(to_writer(store)->out);
}

static int disk_resize(struct store *store, uint64_t size_bytes)
{
	return -ENOTSUP;
}

static int disk_range(struct store *store, uint64_t offset, uint64_t length)
{
	return -ENOTSUP;
}

static void disk_free(struct store *store)
{
	struct ova_writer *w = to_writer(store);

	EVP_MD_CTX_free(w->context);
	free(w);
}

static const struct store_ops ops = {
	.read = disk_read,
	.write = disk_write,
	.flush = disk_flush,
	.resize = disk_resize,
	.punch = disk_range,
	.zero = disk_range,
	.free = disk_free,
};

/* Of @path, what needs to be escaped nowhere. */
static void choose_names(struct ova_writer *w, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');
	size_t length = dot ? (size_t)(dot - name) : strlen(name);

	length = MIN(length, (size_t)STEM_BYTES);
	for (size_t i = 0; i < length; i++)
		w->stem[i] = isalnum((unsigned char)name[i]) || name[i] == '-'
				     ? name[i]
				     : '_';
	if (length == 0)
		snprintf(w->stem, sizeof(w->stem), "machine");
	snprintf(w->ovf, sizeof(w->ovf), "%s.ovf", w->stem);
	snprintf(w->disk, sizeof(w->disk), "%s-disk1.vmdk", w->stem);
	snprintf(w->manifest, sizeof(w->manifest), "%s.mf", w->stem);
}

int ova_writer_new(struct store *out, const char *path, uint64_t capacity_bytes,
		   struct store **ret_disk)
{
	struct ova_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->store = (struct store){
		.ops = &ops,
		.name = out->name,
		.fd = -1,
		.size_bytes = INT64_MAX,
		.alignment = 1,
	};
	w->out = out;
	w->capacity_bytes = capacity_bytes;
	w->context = EVP_MD_CTX_new();
	choose_names(w, path);
	if (!w->context || !EVP_DigestInit_ex(w->context, EVP_sha256(), NULL)) {
		disk_free(&w->store);
		return -ENOMEM;
	}
	*ret_disk = &w->store;
	return 0;
}

const char *ova_writer_disk_name(const struct store *disk)
{
	return container_of(disk, const struct ova_writer, store)->disk;
}

/* --- The descriptor ----------------------------------------------------- */

#define DMTF "http://schemas.dmtf.org/"
#define CIM  DMTF "wbem/wscim/1/cim-schema/2/CIM_"

/*
 * A machine that the disk can be attached to: one processor, 1 GiB, a SCSI
 * controller. Elements are in the order of their names, as the schema has them.
 */
static const char text[] =
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	"<Envelope xmlns=\"" DMTF "ovf/envelope/1\"\n"
	"  xmlns:ovf=\"" DMTF "ovf/envelope/1\"\n"
	"  xmlns:rasd=\"" CIM "ResourceAllocationSettingData\"\n"
	"  xmlns:vssd=\"" CIM "VirtualSystemSettingData\">\n"
	"  <References>\n"
	"    <File ovf:href=\"%s\" ovf:id=\"file1\" ovf:size=\"%llu\"/>\n"
	"  </References>\n"
	"  <DiskSection>\n"
	"    <Info>Virtual disks</Info>\n"
	"    <Disk ovf:capacity=\"%llu\" ovf:diskId=\"disk1\"\n"
	"      ovf:fileRef=\"file1\"\n"
	"      ovf:format=\"http://www.vmware.com/interfaces/specifications/"
	"vmdk.html#streamOptimized\"/>\n"
	"  </DiskSection>\n"
	"  <VirtualSystem ovf:id=\"%s\">\n"
	"    <Info>A virtual machine</Info>\n"
	"    <Name>%s</Name>\n"
	"    <OperatingSystemSection ovf:id=\"1\">\n"
	"      <Info>The guest operating system</Info>\n"
	"    </OperatingSystemSection>\n"
	"    <VirtualHardwareSection>\n"
	"      <Info>Virtual hardware</Info>\n"
	"      <System>\n"
	"        <vssd:ElementName>Virtual hardware</vssd:ElementName>\n"
	"        <vssd:InstanceID>0</vssd:InstanceID>\n"
	"        <vssd:VirtualSystemType>vmx-07</vssd:VirtualSystemType>\n"
	"      </System>\n"
	"      <Item>\n"
	"        <rasd:ElementName>1 processor</rasd:ElementName>\n"
	"        <rasd:InstanceID>1</rasd:InstanceID>\n"
	"        <rasd:ResourceType>3</rasd:ResourceType>\n"
	"        <rasd:VirtualQuantity>1</rasd:VirtualQuantity>\n"
	"      </Item>\n"
	"      <Item>\n"
	"        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>\n"
	"        <rasd:ElementName>1024 MiB of memory</rasd:ElementName>\n"
	"        <rasd:InstanceID>2</rasd:InstanceID>\n"
	"        <rasd:ResourceType>4</rasd:ResourceType>\n"
	"        <rasd:VirtualQuantity>1024</rasd:VirtualQuantity>\n"
	"      </Item>\n"
	"      <Item>\n"
	"        <rasd:Address>0</rasd:Address>\n"
	"        <rasd:ElementName>SCSI controller</rasd:ElementName>\n"
	"        <rasd:InstanceID>3</rasd:InstanceID>\n"
	"        <rasd:ResourceSubType>lsilogic</rasd:ResourceSubType>\n"
	"        <rasd:ResourceType>6</rasd:ResourceType>\n"
	"      </Item>\n"
	"      <Item>\n"
	"        <rasd:AddressOnParent>0</rasd:AddressOnParent>\n"
	"        <rasd:ElementName>Disk 1</rasd:ElementName>\n"
	"        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource>\n"
	"        <rasd:InstanceID>4</rasd:InstanceID>\n"
	"        <rasd:Parent>3</rasd:Parent>\n"
	"        <rasd:ResourceType>17</rasd:ResourceType>\n"
	"      </Item>\n"
	"    </VirtualHardwareSection>\n"
	"  </VirtualSystem>\n"
	"</Envelope>\n";

static_assert(sizeof(text) + 4 * MEMBER_BYTES < OVF_BYTES, "it has room");

/* --- The rest ----------------------------------------------------------- */

static int put_member(struct ova_writer *w, uint64_t offset, const char *name,
		      const void *data, uint64_t bytes)
{
	uint8_t header[TAR_BLOCK_BYTES];
	int err = tar_make_header(name, bytes, header);

	if (err == 0)
		err = store_write(w->out, offset, header, sizeof(header));
	return err || !data ? err
			    : store_write(w->out, offset + sizeof(header), data,
					  bytes);
}

static int hex_digest(EVP_MD_CTX *context, char ret[2 * DIGEST_BYTES + 1])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned bytes = 0;

	if (!EVP_DigestFinal_ex(context, digest, &bytes) ||
	    bytes != DIGEST_BYTES)
		return -EIO;
	for (unsigned i = 0; i < bytes; i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

/* Spaces may follow the text. */
static int put_ovf(struct ova_writer *w, char ret_hex[2 * DIGEST_BYTES + 1])
{
	char ovf[OVF_BYTES];
	int length = snprintf(
		ovf, sizeof(ovf), text, w->disk, (unsigned long long)w->at,
		(unsigned long long)w->capacity_bytes, w->stem, w->stem);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int err = -ENOMEM;

	memset(ovf + length, ' ', sizeof(ovf) - (size_t)length);
	if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) &&
	    EVP_DigestUpdate(context, ovf, sizeof(ovf)))
		err = hex_digest(context, ret_hex);
	EVP_MD_CTX_free(context);
	return err ? err : put_member(w, 0, w->ovf, ovf, sizeof(ovf));
}

/* Behind the disk, with the empty blocks that end an archive. */
static int put_manifest(struct ova_writer *w, const char *ovf_hex,
			const char *disk_hex)
{
	uint64_t offset =
		DISK_OFFSET + align_up(w->at, (uint64_t)TAR_BLOCK_BYTES);
	uint8_t end[2 * TAR_BLOCK_BYTES] = {0};
	char block[MANIFEST_BYTES] = "";
	int length = snprintf(block, sizeof(block),
			      "SHA256(%s)= %s\nSHA256(%s)= %s\n", w->ovf,
			      ovf_hex, w->disk, disk_hex);
	int err = put_member(w, offset, w->manifest, NULL, (uint64_t)length);

	offset += TAR_BLOCK_BYTES;
	if (err == 0)
		err = store_write(w->out, offset, block, sizeof(block));
	offset += sizeof(block);
	return err ? err : store_write(w->out, offset, end, sizeof(end));
}

int ova_writer_end(struct store *disk)
{
	struct ova_writer *w = to_writer(disk);
	char ovf_hex[2 * DIGEST_BYTES + 1], disk_hex[2 * DIGEST_BYTES + 1];
	int err = hex_digest(w->context, disk_hex);

	if (err == 0)
		err = put_member(w, DISK_OFFSET - TAR_BLOCK_BYTES, w->disk,
				 NULL, w->at);
	if (err == 0)
		err = put_ovf(w, ovf_hex);
	return err ? err : put_manifest(w, ovf_hex, disk_hex);
}
