#include "engine/mt19937.h"

#include <math.h>

enum { N = 624, M = 397 };

void mt19937_seed(struct mt19937 *m, uint32_t seed)
{
	m->state[0] = seed;
	for (int i = 1; i < N; i++)
		m->state[i] = 1812433253u * (m->state[i - 1] ^ (m->state[i - 1] >> 30)) + (uint32_t)i;
	m->i = N;
}

static void twist(struct mt19937 *m)
{
	for (int i = 0; i < N; i++) {
		uint32_t y = (m->state[i] & 0x80000000u) | (m->state[(i + 1) % N] & 0x7fffffffu);
		m->state[i] = m->state[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
	}
	m->i = 0;
}

uint32_t mt19937_next(struct mt19937 *m)
{
	if (m->i >= N)
		twist(m);
	uint32_t y = m->state[m->i++];
	y ^= y >> 11;
	y ^= (y << 7) & 0x9d2c5680u;
	y ^= (y << 15) & 0xefc60000u;
	return y ^ (y >> 18);
}

double mt19937_unit(struct mt19937 *m)
{
	double low = mt19937_next(m), high = mt19937_next(m);
	double u = (low + high * 4294967296.0) / 18446744073709551616.0;
	return u < 1 ? u : nextafter(1, 0);
}
