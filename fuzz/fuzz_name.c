/* layer: store */
/* Model names and digests from outside: whatever is accepted must be usable as a path below the store and must survive
 * being written and read again. */
#include <stdint.h>
#include <string.h>

#include "base/bug.h"
#include "base/mem.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_part(const char *part)
{
	BUG_ON(!*part || *part == '.' || strchr(part, '/') || strchr(part, '\\'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = mem_strndup((const char *)data, n);
	struct store_name name, again;
	struct str s = {0};
	if (store_name_parse(text, &name)) {
		check_part(name.host);
		check_part(name.ns);
		check_part(name.model);
		check_part(name.tag);
		store_name_short(&name, &s);
		BUG_ON(!store_name_parse(s.data, &again) || !store_name_equal(&name, &again));
		str_clear(&s);
		store_name_full(&name, &s);
		BUG_ON(!store_name_parse(s.data, &again) || !store_name_equal(&name, &again));
	}
	if (store_digest_valid(text))
		BUG_ON(strchr(text, '/') || strchr(text, '.') || strlen(text) != 71);
	str_release(&s);
	mem_free(text);
	return 0;
}
