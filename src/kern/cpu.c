#include "kern/cpu.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static unsigned features;
static char brand[64];

#if defined(__x86_64__)
#include <cpuid.h>

/* The register sets that the operating system saves (XCR0). */
static uint64_t xcr0(void)
{
	uint32_t lo, hi;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static void detect_features(void)
{
	unsigned a, b, c, d, a1, unused;
	const unsigned want1 = bit_FMA | bit_AVX | bit_F16C | bit_OSXSAVE | bit_POPCNT;
	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & want1) != want1)
		return;
	uint64_t os = xcr0();
	if ((os & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) /* SSE and AVX state */
		return;
	if (!(b & bit_AVX2) || !(b & bit_BMI) || !(b & bit_BMI2))
		return;
	if (a < 1 || !__get_cpuid_count(7, 1, &a1, &unused, &unused, &unused)) /* a: the last subleaf */
		a1 = 0;
	features = CPU_AVX2 | (a1 & 1u << 4 ? CPU_AVXVNNI : 0);
	const unsigned want512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
	if ((os & 0xe6) != 0xe6 || (b & want512) != want512) /* and mask and upper register state */
		return;
	features |= CPU_AVX512 | (c & bit_AVX512VNNI ? CPU_AVX512VNNI : 0) | (a1 & 1u << 5 ? CPU_AVX512BF16 : 0);
}

static void detect_brand(void)
{
	unsigned a, b, c, d;
	if (!__get_cpuid(0x80000000u, &a, &b, &c, &d) || a < 0x80000004u)
		return;
	for (unsigned i = 0; i < 3; i++) {
		unsigned r[4] = {0};
		__get_cpuid(0x80000002u + i, &r[0], &r[1], &r[2], &r[3]);
		memcpy(brand + 16 * i, r, sizeof r);
	}
}
#else
static void detect_features(void)
{
	features = 0;
}

static void detect_brand(void)
{
	brand[0] = '\0';
}
#endif

static void detect(void)
{
	detect_features();
	detect_brand();
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

bool cpu_has(unsigned want)
{
	pthread_once(&once, detect);
	return (features & want) == want;
}

const char *cpu_brand(void)
{
	pthread_once(&once, detect);
	return brand + strspn(brand, " ");
}
