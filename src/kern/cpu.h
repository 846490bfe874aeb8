/* cpu: which instructions this machine may use: the CPU has them and the operating system saves their registers. */
#ifndef CRIA_KERN_CPU_H
#define CRIA_KERN_CPU_H

#include <stdbool.h>

/* Groups of instructions that come together, as bits of a set. One never stands for another: a CPU may have any of them. */
enum cpu_feature {
	CPU_AVX2 = 1,        /* with FMA, F16C, BMI and BMI2 */
	CPU_AVXVNNI = 2,     /* byte products on 256 bits, VEX encoded */
	CPU_AVX512 = 4,      /* F, BW, DQ and VL */
	CPU_AVX512VNNI = 8,  /* byte products on 512 bits and, EVEX encoded, on 256 */
	CPU_AVX512BF16 = 16, /* products of bf16 pairs */
};

/* Whether this machine has all features of the set. */
bool cpu_has(unsigned features);
/* The CPU's own name, "" when it has none. */
const char *cpu_brand(void);

#endif
