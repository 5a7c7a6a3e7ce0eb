/* SPDX-License-Identifier: Apache-2.0 */
#include "vswitch/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "vswitch/guard.h"

enum {
	TAG_AT = 12,
	TCI_AT = 14,
	HEADER_BYTES = TCI_AT + 2,
};

/* A port's copy. */
struct stand_in {
	struct forward_port port;
	struct guard guard;
	bool exists;
	bool got;
	uint32_t bytes;
	uint8_t header[HEADER_BYTES];
};

struct trial {
	struct forward forward;
	struct forward_table table;
	struct stand_in ports[CONFIG_MAX_PORTS];
	uint64_t drops[FORWARD_DROPS];
};

static void take(struct forward_port *port,
		 const struct net_rx_frame *const *frames, unsigned count)
{
	struct stand_in *p = container_of(port, struct stand_in, port);

	p->got = true;
	p->bytes = frames[0]->bytes;
	memcpy(p->header, frames[0]->head, HEADER_BYTES);
}

static int stand_in(struct trial *trial, const struct forward_port *port)
{
	struct stand_in *p = &trial->ports[port->number];
	int err = 0;

	p->port = *port;
	p->port.acl_in = p->port.acl_out = NULL;
	p->port.send = take;
	p->port.expect = NULL;
	p->exists = true;
	if (port->guard) {
		p->guard = *port->guard;
		p->port.guard = &p->guard;
	}
	if (port->acl_in)
		err = acl_shadow(port->acl_in, &p->port.acl_in);
	if (err == 0 && port->acl_out)
		err = acl_shadow(port->acl_out, &p->port.acl_out);
	trial->table.ports[port->number] = &p->port;
	trial->table.end = MAX(trial->table.end, port->number + 1u);
	return err;
}

static void free_trial(struct trial *trial)
{
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		acl_free(trial->ports[i].port.acl_in);
		acl_free(trial->ports[i].port.acl_out);
	}
	free(trial);
}

static int make_trial(struct vswitch *vswitch, struct trial **ret_trial)
{
	struct trial *trial = calloc(1, sizeof(*trial));
	int err = trial ? 0 : -ENOMEM;

	if (err < 0)
		return err;
	forward_init(&trial->forward, vswitch_fdb(vswitch), &trial->table);
	trial->forward.is_trial = true;
	trial->table.mirrors = vswitch_table(vswitch)->mirrors;
	for (unsigned i = 0; i < CONFIG_MAX_PORTS && err == 0; i++) {
		const struct port *port = vswitch_port(vswitch, i);

		if (port)
			err = stand_in(trial, &port->forward);
	}
	if (err < 0) {
		free_trial(trial);
		return err;
	}
	*ret_trial = trial;
	return 0;
}

/* --- what it says ------------------------------------------------------------ */

/* The rule that decided the one frame that there was. */
static void name_rule(const struct acl *acl,
		      char ret_name[static ACL_NAME_BYTES])
{
	for (unsigned i = 0; acl && i < acl_count(acl); i++) {
		const char *name = acl_rule(acl, i)->name;

		if (acl_hits(acl, i) == 0)
			continue;
		if (name[0])
			snprintf(ret_name, ACL_NAME_BYTES, "%s", name);
		else
			snprintf(ret_name, ACL_NAME_BYTES, "rule %u", i + 1);
	}
}

static enum forward_drop first_drop(const struct trial *trial)
{
	for (unsigned i = 1; i < FORWARD_DROPS; i++)
		if (trial->drops[i])
			return i;
	return FORWARD_PASS;
}

/* It was to go there, as to all or to this one. */
static enum forward_drop why_not(const struct trial *trial, unsigned in,
				 unsigned out)
{
	struct vlan_edit edit;
	enum forward_drop why =
		forward_leaves(&trial->ports[in].port, &trial->ports[out].port,
			       &trial->forward.vlans[0], &edit);

	/* What only the second pass could tell, it has counted. */
	return why ? why : first_drop(trial);
}

static void judge_port(const struct trial *trial, unsigned in, unsigned out,
		       struct trace *trace)
{
	const struct stand_in *p = &trial->ports[out];
	struct trace_port *to = &trace->ports[out];

	name_rule(p->port.acl_out, to->rule);
	if (p->got) {
		to->place = p->port.listens ? TRACE_MIRRORED : TRACE_GETS;
		to->bytes = p->bytes;
		to->is_tagged =
			get_be16(p->header + TAG_AT) == VLAN_TPID ||
			get_be16(p->header + TAG_AT) == VLAN_SERVICE_TPID;
		to->tag_vlan = get_be16(p->header + TCI_AT) & (VLAN_IDS - 1);
	} else if (out != in && trace->floods && !p->port.listens) {
		to->place = TRACE_REFUSED;
		to->why = why_not(trial, in, out);
	} else if (!trace->floods && trial->forward.egress[0] == out) {
		to->place = TRACE_REFUSED;
		to->why = why_not(trial, in, out);
	}
}

static void describe(const struct trial *trial, unsigned number,
		     struct trace *trace)
{
	const struct forward *f = &trial->forward;
	bool somebody = false;

	*trace = (struct trace){.vlan = f->vlans[0].vlan};
	trace->floods = f->floods > 0;
	trace->learned = f->learned;
	name_rule(trial->ports[number].port.acl_in, trace->rule);
	for (unsigned i = 0; i < CONFIG_MAX_PORTS; i++) {
		if (!trial->ports[i].exists)
			continue;
		judge_port(trial, number, i, trace);
		somebody |= trace->ports[i].place == TRACE_GETS;
	}
	if (!trace->floods && !somebody)
		trace->why = first_drop(trial);
}

static void make_frame(const uint8_t *bytes, size_t length, struct iovec *rest,
		       struct net_rx_frame *ret_frame)
{
	*ret_frame = (struct net_rx_frame){
		.bytes = length,
		.head_bytes = MIN(length, (size_t)NET_COPY_BYTES),
	};
	memcpy(ret_frame->head, bytes, ret_frame->head_bytes);
	*rest = (struct iovec){
		.iov_base = (uint8_t *)bytes + ret_frame->head_bytes,
		.iov_len = length - ret_frame->head_bytes,
	};
	ret_frame->rest = iov_cursor(rest, 1);
	net_frame_parse(ret_frame->head, ret_frame->head_bytes,
			&ret_frame->layout);
}

int trace_frame(struct vswitch *vswitch, unsigned number, const uint8_t *bytes,
		size_t length, struct trace *ret_trace)
{
	struct net_rx_frame frame;
	struct trial *trial;
	struct iovec rest;
	int err = make_trial(vswitch, &trial);

	if (err < 0)
		return err;
	make_frame(bytes, length, &rest, &frame);
	trial->forward.learned = FDB_KNOWN;
	forward_burst(&trial->forward, &trial->ports[number].port, &frame, 1,
		      clock_ns(), trial->drops);
	describe(trial, number, ret_trace);
	free_trial(trial);
	return 0;
}
