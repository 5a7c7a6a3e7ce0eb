/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under a sanitizer a test may go through a part of what the plain build goes
 * through in whole: each step takes ten times as long there, and finds what it
 * is to find with the first of its kind.
 */
#ifndef TESTS_SANITIZED_H
#define TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

/* The step of a loop over all: 1, or @one_in under a sanitizer. */
#define SAMPLED(one_in) (TEST_SANITIZED ? (one_in) : 1)

#endif
