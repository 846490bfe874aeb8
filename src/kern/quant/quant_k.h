/* quant_k: the packed sub-block scales of K-quants, shared by dequantizers and panels. */
#ifndef CRIA_KERN_QUANT_K_H
#define CRIA_KERN_QUANT_K_H

#include <stdint.h>

enum { QUANT_K = 256 }; /* values per super-block */

/* Q4_K, Q5_K: 12 bytes hold 8 six-bit scales and 8 six-bit minimums. */
void quant_k4_scales(const uint8_t a[12], uint8_t sc[8], uint8_t mn[8]);
/* Q3_K: 12 bytes hold 16 six-bit scales, returned less 32. */
void quant_k3_scales(const uint8_t a[12], int8_t sc[16]);

#endif
