#include "gguf/gguf_type.h"

#include <strings.h>

#include "base/bug.h"

/* Indexed by id; removed and unknown ids have no name. */
static const struct gguf_type_info types[] = {
#define GGUF_TYPE(id, name, block, bytes) [id] = {id, #name, block, bytes},
#include "gguf/gguf_type.def"
#undef GGUF_TYPE
};

/* general.file_type: what the writer calls its mix of types. 4, 5 and 6, 33 to 35 were removed from the format. */
static const char *const ftypes[] = {
	[0] = "F32", [1] = "F16", [2] = "Q4_0", [3] = "Q4_1", [7] = "Q8_0", [8] = "Q5_0", [9] = "Q5_1",
	[10] = "Q2_K", [11] = "Q3_K_S", [12] = "Q3_K_M", [13] = "Q3_K_L", [14] = "Q4_K_S", [15] = "Q4_K_M",
	[16] = "Q5_K_S", [17] = "Q5_K_M", [18] = "Q6_K", [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S",
	[22] = "IQ3_XS", [23] = "IQ3_XXS", [24] = "IQ1_S", [25] = "IQ4_NL", [26] = "IQ3_S", [27] = "IQ3_M",
	[28] = "IQ2_S", [29] = "IQ2_M", [30] = "IQ4_XS", [31] = "IQ1_M", [32] = "BF16", [36] = "TQ1_0",
	[37] = "TQ2_0", [38] = "MXFP4_MOE", [39] = "NVFP4", [40] = "Q1_0", [41] = "Q2_0",
};

/* Set in general.file_type when a loader guessed the mix from the tensors. */
enum { FTYPE_GUESSED = 1024 };

const struct gguf_type_info *gguf_type_info(int id)
{
	return id >= 0 && (size_t)id < ARRAY_LEN(types) && types[id].name ? &types[id] : NULL;
}

const struct gguf_type_info *gguf_type_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].name && !strcasecmp(types[i].name, name))
			return &types[i];
	return NULL;
}

const char *gguf_ftype_name(int64_t ftype)
{
	if (ftype >= FTYPE_GUESSED)
		ftype -= FTYPE_GUESSED;
	return ftype >= 0 && (size_t)ftype < ARRAY_LEN(ftypes) && ftypes[ftype] ? ftypes[ftype] : "unknown";
}
