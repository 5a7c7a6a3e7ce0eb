/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory ordering between us and the other side of a ring, or between our own
 * threads. This is the only file that spells atomics on shared memory, so that
 * each use elsewhere reads as the ordering that it needs.
 *
 * load_acquire pairs with store_release. full_barrier orders a store before a
 * later load, which is what the notification handshakes of a virtqueue need
 * (virtio 1.2, 2.7.7 and 2.8.10): publish, barrier, then look whether the
 * other side wants to be told.
 *
 * Memory shared with a guest may change at any time: read a field once with
 * load_once (or load_acquire), then use only the copy.
 */
#ifndef BASE_BARRIER_H
#define BASE_BARRIER_H

#define load_once(p)	    __atomic_load_n((p), __ATOMIC_RELAXED)
#define store_once(p, v)    __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define load_acquire(p)	    __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
/* All threads agree on the order of these: store, then look for another's. */
#define load_seq_cst(p)		__atomic_load_n((p), __ATOMIC_SEQ_CST)
#define store_seq_cst(p, v)	__atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define fetch_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define fetch_sub_acq_rel(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)
#define fetch_or_relaxed(p, v)	__atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define exchange_acq_rel(p, v)	__atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
/* May fail spuriously; *@seen is then what was there. */
#define compare_exchange_relaxed(p, seen, v)                                  \
	__atomic_compare_exchange_n((p), (seen), (v), true, __ATOMIC_RELAXED, \
				    __ATOMIC_RELAXED)

static inline void full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void acquire_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void release_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Tells the core that this is a spin loop. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

#endif
