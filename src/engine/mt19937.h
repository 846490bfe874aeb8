/* mt19937: the 32-bit Mersenne Twister of the C++ standard (Matsumoto and Nishimura 1998), and uniform doubles made from
 * it as std::uniform_real_distribution does, so that a seed draws what it draws in other engines. */
#ifndef CRIA_ENGINE_MT19937_H
#define CRIA_ENGINE_MT19937_H

#include <stdint.h>

struct mt19937 {
	uint32_t state[624];
	int i;
};

void mt19937_seed(struct mt19937 *m, uint32_t seed);
uint32_t mt19937_next(struct mt19937 *m);
double mt19937_unit(struct mt19937 *m); /* in [0, 1) */

#endif
