/* What avx512vnni can do at most. */
#if defined(__x86_64__)
#define PEAK peak_avx512vnni
#include "kern/x86/peak_body.h"
#endif
