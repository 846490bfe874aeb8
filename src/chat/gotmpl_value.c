#include "chat/gotmpl_value.h"

#include <stdlib.h>

const struct gtype gtype_any_slice = {.name = "[]interface {}", .elem_kind = GV_NIL};
const struct gtype gtype_any_map = {.name = "map[string]interface {}", .elem_kind = GV_NIL};
const struct gtype gtype_strings = {.name = "[]string", .elem_kind = GV_STR};

size_t gv_len(const struct gval *v)
{
	return v->kind == GV_STR ? v->s.n : v->kind == GV_MAP ? (v->map ? v->map->n : 0) : v->n;
}

bool gv_truth(const struct gval *v)
{
	switch ((enum gkind)v->kind) {
	case GV_INVALID:
	case GV_NIL:
		return false;
	case GV_BOOL:
		return v->b;
	case GV_INT:
	case GV_UINT8:
		return v->i != 0;
	case GV_FLOAT:
		return v->f != 0;
	case GV_COMPLEX:
		return v->re != 0 || v->im != 0;
	case GV_STR:
	case GV_SLICE:
	case GV_MAP:
		return gv_len(v) > 0 || (v->type && v->type->pointer);
	case GV_STRUCT:
		break;
	}
	return true;
}

static int by_key(const void *a, const void *b)
{
	return gstr_cmp(((const struct gentry *)a)->key, ((const struct gentry *)b)->key);
}

void gv_sort(struct gmap *m)
{
	if (m->n > 1)
		qsort(m->e, m->n, sizeof *m->e, by_key);
}

struct gentry *gv_find(const struct gmap *m, struct gstr key)
{
	size_t lo = 0, hi = m ? m->n : 0;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = gstr_cmp(m->e[mid].key, key);
		if (c == 0)
			return &m->e[mid];
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const char *gv_type(const struct gval *v)
{
	static const char *const names[] = {
		[GV_INVALID] = "<nil>", [GV_NIL] = "interface {}", [GV_BOOL] = "bool",          [GV_INT] = "int",
		[GV_UINT8] = "uint8",   [GV_FLOAT] = "float64",    [GV_COMPLEX] = "complex128", [GV_STR] = "string",
	};
	return v->type ? v->type->name : names[v->kind];
}

const char *gv_static_type(const struct gval *v)
{
	return v->iface ? "interface {}" : gv_type(v);
}
