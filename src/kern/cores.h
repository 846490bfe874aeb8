/* cores: how much of the machine this process may use: its affinity mask, hyperthreads, and the CPU quotas of its control
 * groups (version 1 and 2, nested). Constant state is not kept: every call looks again. */
#ifndef CRIA_KERN_CORES_H
#define CRIA_KERN_CORES_H

enum { CORES_MAX = 256 };

struct cores {
	int n_cpu;   /* CPUs of the affinity mask */
	int n_core;  /* of these, the first of their core: hyperthreads share the multipliers */
	int n_quota; /* whole CPUs that the least quota allows, rounded up; CORES_MAX when there is none */
};

/* Fills *ret; each number is at least 1. root is put before every path that is read ("" but in tests). */
void cores_read(const char *root, struct cores *ret);

#endif
