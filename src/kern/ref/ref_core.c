/* ref_core for any CPU. */
#define REF_CORE ref_core_base
#define REF_LANES 4
#include "kern/ref/ref_core_body.h"
