/* cpu: which instructions this machine may use: the CPU has them and the operating system saves their registers. */
#ifndef CRIA_KERN_CPU_H
#define CRIA_KERN_CPU_H

/* Each level includes the ones before it. */
enum cpu_level { CPU_GENERIC, CPU_AVX2, CPU_AVX512, CPU_AVX512VNNI };

enum cpu_level cpu_level(void);
/* "avx512vnni" and so on, the words of CRIA_CPU. */
const char *cpu_level_name(enum cpu_level level);
/* The CPU's own name, "" when it has none. */
const char *cpu_brand(void);

#endif
