/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/vlan.h"

#include <string.h>

#include "base/bytes.h"

enum {
	/* Behind the two addresses. */
	TAG_OFFSET = 12,
	ID_MASK = 0xfff,
};

static bool is_vlan(uint16_t vlan)
{
	return vlan >= VLAN_MIN && vlan <= VLAN_MAX;
}

static uint16_t tpid_of(const struct vlan_port *port)
{
	return port->tpid ? port->tpid : VLAN_TPID;
}

static bool has_member(const struct vlan_port *port, uint16_t vlan)
{
	return port->members[vlan / 64] >> vlan % 64 & 1;
}

const char *vlan_port_check(const struct vlan_port *port)
{
	bool any = false;

	for (unsigned i = 0; i < ARRAY_SIZE(port->members); i++)
		any |= port->members[i] != 0;
	if (port->native != VLAN_NONE && !is_vlan(port->native))
		return "VLANs are 1 to 4094";
	if (has_member(port, VLAN_IDS - 1) ||
	    (port->mode == VLAN_TRUNK && has_member(port, VLAN_NONE)))
		return "VLANs are 1 to 4094";
	if (port->mode != VLAN_TRUNK && port->native == VLAN_NONE)
		return "an access port or tunnel has a VLAN";
	if (port->mode == VLAN_ACCESS && any)
		return "an access port has one VLAN";
	if (port->mode == VLAN_TUNNEL && !any)
		return "a tunnel takes at least one customer's VLAN";
	if (port->mode == VLAN_TRUNK && !any && port->native == VLAN_NONE)
		return "a trunk has at least one VLAN";
	if (port->tpid && port->tpid != VLAN_TPID &&
	    port->tpid != VLAN_SERVICE_TPID)
		return "tags are of type 0x8100 or 0x88a8";
	return NULL;
}

void vlan_port_add(struct vlan_port *port, uint16_t vlan)
{
	port->members[vlan / 64] |= UINT64_C(1) << vlan % 64;
}

void vlan_port_add_all(struct vlan_port *port)
{
	for (unsigned i = VLAN_NONE; i <= VLAN_MAX; i++)
		vlan_port_add(port, i);
}

/* --- In ------------------------------------------------------------------- */

/* The first tag, if it is of type @tpid. */
static void read_tag(const struct net_rx_frame *frame, uint16_t tpid,
		     struct vlan_frame *ret)
{
	const uint8_t *tag = frame->head + TAG_OFFSET;

	*ret = (struct vlan_frame){
		.tpid = tpid,
		.content = get_be16(tag),
	};
	if (frame->layout.tags == 0 || ret->content != tpid)
		return;
	ret->tagged = true;
	ret->tci = frame->layout.tci[0];
	ret->vlan = ret->tci & ID_MASK;
	/* The parser saw the whole tag, and the type behind it. */
	ret->content = get_be16(tag + NET_TAG_BYTES);
}

static enum vlan_drop enter_access(const struct vlan_port *port,
				   struct vlan_frame *frame)
{
	/* A priority is no VLAN. */
	if (frame->tagged && frame->vlan != VLAN_NONE)
		return VLAN_DROP_TAGGED;
	frame->vlan = port->native;
	return VLAN_PASS;
}

static enum vlan_drop enter_trunk(const struct vlan_port *port,
				  struct vlan_frame *frame)
{
	if (frame->vlan == VLAN_NONE) {
		frame->vlan = port->native;
		return port->native == VLAN_NONE ? VLAN_DROP_UNTAGGED
						 : VLAN_PASS;
	}
	if (frame->vlan == port->native || has_member(port, frame->vlan))
		return VLAN_PASS;
	return VLAN_DROP_MEMBER;
}

static enum vlan_drop enter_tunnel(const struct vlan_port *port,
				   struct vlan_frame *frame)
{
	/* What the customer's tag says is none of the switch's business. */
	if (!has_member(port, frame->vlan))
		return VLAN_DROP_MEMBER;
	*frame = (struct vlan_frame){
		.vlan = port->native,
		.content = frame->tagged ? frame->tpid : frame->content,
	};
	return VLAN_PASS;
}

enum vlan_drop vlan_ingress(const struct vlan_port *port,
			    const struct net_rx_frame *frame,
			    struct vlan_frame *ret)
{
	read_tag(frame, tpid_of(port), ret);
	switch (port->mode) {
	case VLAN_ACCESS:
		return enter_access(port, ret);
	case VLAN_TRUNK:
		return enter_trunk(port, ret);
	case VLAN_TUNNEL:
		return enter_tunnel(port, ret);
	}
	return VLAN_DROP_MEMBER;
}

/* --- Out ------------------------------------------------------------------ */

static void leave_untagged(const struct vlan_frame *frame,
			   struct vlan_edit *ret)
{
	*ret = (struct vlan_edit){
		.what = frame->tagged ? VLAN_POP : VLAN_KEEP,
	};
}

/* The priority stays. */
static void leave_tagged(const struct vlan_port *port,
			 const struct vlan_frame *frame, struct vlan_edit *ret)
{
	ret->tpid = tpid_of(port);
	ret->tci = (frame->tci & ~ID_MASK) | frame->vlan;
	if (!frame->tagged)
		ret->what = VLAN_PUSH;
	else if (ret->tci != frame->tci || ret->tpid != frame->tpid)
		ret->what = VLAN_SET;
	else
		ret->what = VLAN_KEEP;
}

static bool leaves_untagged(const struct vlan_port *port,
			    const struct vlan_frame *frame)
{
	if (port->mode != VLAN_TRUNK)
		return true;
	return frame->vlan == port->native && !port->tags_native &&
	       frame->content != tpid_of(port);
}

bool vlan_egress(const struct vlan_port *port, const struct vlan_frame *frame,
		 struct vlan_edit *ret)
{
	if (frame->vlan != port->native &&
	    (port->mode != VLAN_TRUNK || !has_member(port, frame->vlan)))
		return false;
	if (leaves_untagged(port, frame))
		leave_untagged(frame, ret);
	else
		leave_tagged(port, frame, ret);
	return true;
}

/* --- The head ------------------------------------------------------------- */

static uint16_t moved(uint16_t little_endian, int by)
{
	return htole16(le16toh(little_endian) + by);
}

/* All that lies behind the addresses moves by so many bytes. */
static void move(struct net_rx_frame *frame, int by)
{
	struct virtio_net_hdr_v1 *header = &frame->header;
	struct net_frame *layout = &frame->layout;

	frame->bytes += by;
	frame->head_bytes += by;
	layout->l3_offset += by;
	if (layout->l4)
		layout->payload_offset += by;
	layout->l4_offset += by;
	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		header->csum_start = moved(header->csum_start, by);
	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		header->hdr_len = moved(header->hdr_len, by);
}

static void pop(struct net_rx_frame *frame)
{
	uint8_t *tag = frame->head + TAG_OFFSET;

	memmove(tag, tag + NET_TAG_BYTES,
		frame->head_bytes - TAG_OFFSET - NET_TAG_BYTES);
	move(frame, -NET_TAG_BYTES);
	frame->layout.tags--;
	frame->layout.tci[0] = frame->layout.tci[1];
}

static void write_tag(struct net_rx_frame *frame, const struct vlan_edit *edit)
{
	put_be16(frame->head + TAG_OFFSET, edit->tpid);
	put_be16(frame->head + TAG_OFFSET + 2, edit->tci);
	frame->layout.tci[0] = edit->tci;
}

static bool push(struct net_rx_frame *frame, const struct vlan_edit *edit)
{
	uint8_t *tag = frame->head + TAG_OFFSET;

	if (frame->bytes + NET_TAG_BYTES > NET_MAX_FRAME_BYTES ||
	    frame->head_bytes + NET_TAG_BYTES > (int)sizeof(frame->head))
		return false;
	memmove(tag + NET_TAG_BYTES, tag, frame->head_bytes - TAG_OFFSET);
	move(frame, NET_TAG_BYTES);
	/* Of three tags the layout knows the first two. */
	frame->layout.tci[1] = frame->layout.tci[0];
	if (frame->layout.tags < NET_MAX_TAGS)
		frame->layout.tags++;
	write_tag(frame, edit);
	return true;
}

bool vlan_apply(struct net_rx_frame *frame, const struct vlan_edit *edit)
{
	switch (edit->what) {
	case VLAN_KEEP:
		return true;
	case VLAN_POP:
		pop(frame);
		return true;
	case VLAN_SET:
		write_tag(frame, edit);
		return true;
	case VLAN_PUSH:
		return push(frame, edit);
	}
	return false;
}
