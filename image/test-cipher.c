/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published vectors: FIPS 197, IEEE 1619, RFC 2144, RFC 6070 and the ciphers'
 * own papers. A cipher that is wrong in the same way both ways would read
 * nobody's disks, and nobody would read its.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/cipher.h"
#include "tests/cmocka.h"

static size_t from_hex(const char *hex, uint8_t *ret)
{
	size_t bytes = strlen(hex) / 2;

	for (size_t i = 0; i < bytes; i++) {
		char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		ret[i] = strtoul(digits, NULL, 16);
	}
	return bytes;
}

static struct image_cipher *make(const struct cipher_spec *spec,
				 const char *hex_key)
{
	uint8_t key[CIPHER_MAX_KEY_BYTES];
	struct image_cipher *cipher = NULL;
	char *error = NULL;

	assert_int_equal(from_hex(hex_key, key), cipher_key_bytes(spec));
	if (image_cipher_new(spec, key, true, &cipher, &error) == -ENOTSUP)
		print_message("# %s\n", error);
	free(error);
	return cipher;
}

static void assert_begins(const uint8_t *data, const char *hex)
{
	uint8_t wanted[CIPHER_SECTOR_BYTES];

	assert_memory_equal(data, wanted, from_hex(hex, wanted));
}

/* One block of the sector's plaintext, and what must come out of it. */
static void check_ecb(enum cipher_algorithm algorithm, const char *key,
		      const char *plain, const char *expected)
{
	const struct cipher_spec spec = {.algorithm = algorithm,
					 .mode = CIPHER_ECB};
	struct image_cipher *cipher = make(&spec, key);
	uint8_t sector[CIPHER_SECTOR_BYTES] = {0};

	if (!cipher)
		skip();
	from_hex(plain, sector);
	assert_int_equal(image_cipher_encrypt(cipher, 7, sector, 512), 0);
	assert_begins(sector, expected);
	assert_int_equal(image_cipher_decrypt(cipher, 7, sector, 512), 0);
	assert_begins(sector, plain);
	image_cipher_free(cipher);
}

static const char fips_plain[] = "00112233445566778899aabbccddeeff";
static const char fips_key[] =
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
static const char fips_256[] = "8ea2b7ca516745bfeafc49904b496089";

static void aes_is_that_of_fips_197(void **state)
{
	check_ecb(CIPHER_AES_128, "000102030405060708090a0b0c0d0e0f",
		  fips_plain, "69c4e0d86a7b0430d8cdb78070b4c55a");
	check_ecb(CIPHER_AES_192,
		  "000102030405060708090a0b0c0d0e0f1011121314151617",
		  fips_plain, "dda97ca4864cdfe06eaf70a0ec0d7191");
	check_ecb(CIPHER_AES_256, fips_key, fips_plain, fips_256);
}

static void cast5_is_that_of_rfc_2144(void **state)
{
	check_ecb(CIPHER_CAST5_128, "0123456712345678234567893456789a",
		  "0123456789abcdef", "238b4fe5847e44b2");
}

static void twofish_is_that_of_its_paper(void **state)
{
	static const char zeroes[] = "00000000000000000000000000000000"
				     "00000000000000000000000000000000";

	check_ecb(CIPHER_TWOFISH_128, zeroes + 32, zeroes + 32,
		  "9f589f5cf6122c32b6bfec2f2ae8c35a");
	check_ecb(CIPHER_TWOFISH_192, zeroes + 16, zeroes + 32,
		  "efa71f788965bd4453f860178fc19101");
	check_ecb(CIPHER_TWOFISH_256, zeroes, zeroes + 32,
		  "57ff739d4dc92c1bd7fc01700cc8216f");
}

static void xts_is_that_of_ieee_1619(void **state)
{
	const struct cipher_spec small = {CIPHER_AES_128, CIPHER_XTS,
					  CIPHER_PLAIN64, 0};
	const struct cipher_spec large = {CIPHER_AES_256, CIPHER_XTS,
					  CIPHER_PLAIN64, 0};
	struct image_cipher *cipher =
		make(&small, "27182818284590452353602874713526"
			     "31415926535897932384626433832795");
	uint8_t sector[CIPHER_SECTOR_BYTES];

	for (unsigned i = 0; i < sizeof(sector); i++)
		sector[i] = i;
	image_cipher_encrypt(cipher, 0, sector, sizeof(sector));
	assert_begins(sector, "27a7479befa1d476489f308cd4cfa6e2"
			      "a96e4bbe3208ff25287dd3819616e89c");
	image_cipher_free(cipher);

	cipher = make(&large,
		      "2718281828459045235360287471352662497757247093699959574"
		      "966967627314159265358979323846264338327950288419716939"
		      "9375105820974944592");
	for (unsigned i = 0; i < sizeof(sector); i++)
		sector[i] = i;
	image_cipher_encrypt(cipher, 0xff, sector, sizeof(sector));
	assert_begins(sector, "1c3b3a102f770386e4836c99e370cf9b"
			      "ea00803f5e482357a4ae12d414a3e63b");
	image_cipher_free(cipher);
}

/*
 * The first block of CBC is the block cipher of plaintext and initial vector:
 * with the vector of FIPS 197 as their sum the result is that one's.
 */
static void check_cbc(enum cipher_iv iv, enum cipher_hash hash, uint64_t number,
		      const uint8_t expected_iv[16])
{
	const struct cipher_spec spec = {CIPHER_AES_256, CIPHER_CBC, iv, hash};
	struct image_cipher *cipher = make(&spec, fips_key);
	uint8_t sector[CIPHER_SECTOR_BYTES] = {0};

	from_hex(fips_plain, sector);
	for (unsigned i = 0; i < 16; i++)
		sector[i] ^= expected_iv[i];
	image_cipher_encrypt(cipher, number, sector, sizeof(sector));
	assert_begins(sector, fips_256);
	image_cipher_free(cipher);
}

static void
plain_has_the_low_half_of_the_sector_and_plain64_all_of_it(void **state)
{
	uint8_t iv[16] = {5};

	check_cbc(CIPHER_PLAIN, 0, (UINT64_C(3) << 32) + 5, iv);
	iv[4] = 3;
	check_cbc(CIPHER_PLAIN64, 0, (UINT64_C(3) << 32) + 5, iv);
}

static void essiv_encrypts_the_sector_with_a_hash_of_the_key(void **state)
{
	const struct cipher_spec ecb = {CIPHER_AES_256, CIPHER_ECB, 0, 0};
	uint8_t key[32], hash[32], iv[CIPHER_SECTOR_BYTES] = {0x34, 0x12};
	struct image_cipher *cipher = NULL;

	from_hex(fips_key, key);
	assert_int_equal(cipher_digest(CIPHER_SHA256, key, 32, hash), 0);
	/* SHA-256 of those 32 bytes. */
	assert_begins(hash, "630dcd2966c4336691125448bbb25b4f"
			    "f412a49c732db2c8abc1b8581bd710dd");
	assert_int_equal(image_cipher_new(&ecb, hash, true, &cipher, NULL), 0);
	image_cipher_encrypt(cipher, 0, iv, sizeof(iv));
	image_cipher_free(cipher);
	check_cbc(CIPHER_ESSIV, CIPHER_SHA256, 0x1234, iv);
}

static void ctr_counts_up_from_the_sector(void **state)
{
	const struct cipher_spec ecb = {CIPHER_AES_256, CIPHER_ECB, 0, 0};
	const struct cipher_spec ctr = {CIPHER_AES_256, CIPHER_CTR,
					CIPHER_PLAIN64, 0};
	struct image_cipher *cipher = make(&ecb, fips_key);
	uint8_t counters[CIPHER_SECTOR_BYTES] = {0};
	uint8_t sector[CIPHER_SECTOR_BYTES] = {0};

	for (unsigned i = 0; i < 32; i++) {
		counters[16 * i] = 9;
		counters[16 * i + 15] = i;
	}
	image_cipher_encrypt(cipher, 0, counters, sizeof(counters));
	image_cipher_free(cipher);
	cipher = make(&ctr, fips_key);
	image_cipher_encrypt(cipher, 9, sector, sizeof(sector));
	assert_memory_equal(sector, counters, sizeof(sector));
	image_cipher_free(cipher);
}

static void pbkdf2_is_that_of_rfc_6070(void **state)
{
	uint8_t key[32];

	assert_int_equal(cipher_pbkdf2(CIPHER_SHA1, "password", 8, "salt", 4,
				       4096, key, 20),
			 0);
	assert_begins(key, "4b007901b765489abead49d926f721d065a429c1");
	assert_int_equal(cipher_pbkdf2(CIPHER_SHA256, "password", 8, "salt", 4,
				       1, key, 32),
			 0);
	assert_begins(key, "120fb6cffcf8b32c43e7225256c4f837"
			   "a86548c92ccc35480805987cb70be17b");
	assert_int_equal(
		cipher_pbkdf2(CIPHER_SHA256, "x", 1, "salt", 4, 0, key, 32),
		-EINVAL);
}

/* Every combination that there is comes back as it went, sector by sector. */
static void what_is_encrypted_decrypts(void **state)
{
	uint8_t key[CIPHER_MAX_KEY_BYTES], data[2048], copy[2048];
	unsigned made = 0;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = i * 7 + i / 256;
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = i * 3;
	for (unsigned a = 0; a < CIPHER_ALGORITHMS; a++)
		for (unsigned m = 0; m < CIPHER_MODES; m++) {
			const struct cipher_spec spec = {a, m, CIPHER_PLAIN64,
							 0};
			struct image_cipher *cipher;

			if (image_cipher_new(&spec, key, true, &cipher, NULL))
				continue;
			made++;
			memcpy(copy, data, sizeof(data));
			image_cipher_encrypt(cipher, 40, copy, sizeof(copy));
			assert_memory_not_equal(copy, data, 512);
			image_cipher_decrypt(cipher, 41, copy + 512, 512);
			assert_memory_equal(copy + 512, data + 512, 512);
			image_cipher_decrypt(cipher, 40, copy, 512);
			image_cipher_decrypt(cipher, 42, copy + 1024, 1024);
			assert_memory_equal(copy, data, sizeof(data));
			image_cipher_free(cipher);
		}
	assert_true(made >= 11);
}

static void what_does_not_go_together_is_refused(void **state)
{
	const struct cipher_spec cast = {CIPHER_CAST5_128, CIPHER_XTS,
					 CIPHER_PLAIN64, 0};
	const struct cipher_spec essiv = {CIPHER_AES_256, CIPHER_CBC,
					  CIPHER_ESSIV, CIPHER_SHA1};
	uint8_t key[CIPHER_MAX_KEY_BYTES] = {0};
	struct image_cipher *cipher;
	char *error = NULL;

	assert_int_equal(image_cipher_new(&cast, key, true, &cipher, &error),
			 -ENOTSUP);
	assert_non_null(strstr(error, "cast5-128 has no mode xts"));
	free(error);
	error = NULL;
	assert_int_equal(image_cipher_new(&essiv, key, true, &cipher, &error),
			 -ENOTSUP);
	assert_non_null(strstr(error, "essiv with sha1"));
	free(error);
}

static void a_locked_cipher_refuses_everything(void **state)
{
	struct image_cipher *cipher;
	uint8_t data[512] = {1};

	assert_int_equal(image_cipher_new_locked(&cipher), 0);
	assert_int_equal(image_cipher_encrypt(cipher, 0, data, 512), -EACCES);
	assert_int_equal(image_cipher_decrypt(cipher, 0, data, 512), -EACCES);
	assert_int_equal(data[0], 1);
	image_cipher_free(cipher);
}

static struct image_cipher *shared;
static const uint8_t *shared_plain, *shared_crypted;

static void *use_shared(void *arg)
{
	static uint8_t wrong;
	uint8_t data[4096];

	for (unsigned i = 0; i < 200; i++) {
		memcpy(data, shared_plain, sizeof(data));
		image_cipher_encrypt(shared, 100, data, sizeof(data));
		if (memcmp(data, shared_crypted, sizeof(data)) != 0)
			return &wrong;
		image_cipher_decrypt(shared, 100, data, sizeof(data));
		if (memcmp(data, shared_plain, sizeof(data)) != 0)
			return &wrong;
	}
	return NULL;
}

/* More threads than lanes. */
static void threads_do_not_disturb_each_other(void **state)
{
	const struct cipher_spec spec = {CIPHER_AES_256, CIPHER_CBC,
					 CIPHER_ESSIV, CIPHER_SHA256};
	uint8_t plain[4096], crypted[4096];
	pthread_t threads[20];
	void *wrong;

	memset(plain, 'p', sizeof(plain));
	memcpy(crypted, plain, sizeof(plain));
	shared = make(&spec, fips_key);
	image_cipher_encrypt(shared, 100, crypted, sizeof(crypted));
	shared_plain = plain;
	shared_crypted = crypted;
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, use_shared, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	image_cipher_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aes_is_that_of_fips_197),
		cmocka_unit_test(cast5_is_that_of_rfc_2144),
		cmocka_unit_test(twofish_is_that_of_its_paper),
		cmocka_unit_test(xts_is_that_of_ieee_1619),
		cmocka_unit_test(
			plain_has_the_low_half_of_the_sector_and_plain64_all_of_it),
		cmocka_unit_test(
			essiv_encrypts_the_sector_with_a_hash_of_the_key),
		cmocka_unit_test(ctr_counts_up_from_the_sector),
		cmocka_unit_test(pbkdf2_is_that_of_rfc_6070),
		cmocka_unit_test(what_is_encrypted_decrypts),
		cmocka_unit_test(what_does_not_go_together_is_refused),
		cmocka_unit_test(a_locked_cipher_refuses_everything),
		cmocka_unit_test(threads_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
