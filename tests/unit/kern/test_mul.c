/* Matrix products of every level this machine can run. */
#include <stdio.h>

#include "mul_check.h"

int main(void)
{
	n_level = kern_levels(&levels);
	printf("levels:");
	for (size_t i = 0; i < n_level; i++)
		printf(" %s", levels[i]->name);
	printf("; not on this machine: %s\n", *kern_levels_missing() ? kern_levels_missing() : "none");
	Suite *s = suite_create("mul");
	suite_add_tcase(s, mul_check_case());
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int n = srunner_ntests_failed(r);
	srunner_free(r);
	return n != 0;
}
