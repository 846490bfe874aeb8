/* arch: the architectures. A file each: what its keys mean beyond the common ones, and its forward. Facts come from the
 * papers and from the published model code; names of keys and tensors from the GGUF format. */
#ifndef CRIA_ARCH_H
#define CRIA_ARCH_H

#include "model/model_arch.h"

#define ARCH(name) extern const struct model_arch arch_##name;
#include "arch/arch.def"
#undef ARCH

/* The key an architecture with RMS norms cannot do without. */
void arch_need_rms_eps(struct model_hp *hp, struct model_keys *k);
/* The model's rope setting with the divisors of `rope_freqs.weight`, when the file has them. */
struct model_rope arch_rope(struct graph *g, enum kern_rope kind);

#endif
