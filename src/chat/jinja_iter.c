/* Walking over values. Lists, dicts and views are read as they are at that moment, so a template that changes them while
 * it walks reads no freed memory; generators compute items when asked. */
#include <string.h>

#include "base/utf8.h"
#include "chat/jinja_run.h"

static int next_none(struct jrun *r, struct jiter *it, struct jval *ret)
{
	(void)r, (void)it, (void)ret;
	return 0;
}

static int next_list(struct jrun *r, struct jiter *it, struct jval *ret)
{
	(void)r;
	if (it->pos >= it->src.list->n)
		return 0;
	*ret = it->src.list->v[it->pos++];
	return 1;
}

static int next_bytes(struct jrun *r, struct jiter *it, struct jval *ret)
{
	(void)r;
	if (it->pos >= it->src.s->n)
		return 0;
	*ret = jv_int((unsigned char)it->src.s->p[it->pos++]);
	return 1;
}

static int next_str(struct jrun *r, struct jiter *it, struct jval *ret)
{
	const struct jstr *s = it->src.s;
	uint32_t cp;
	if (it->pos >= s->n)
		return 0;
	size_t n = utf8_next(s->p + it->pos, s->n - it->pos, &cp);
	if (!jv_str_part(r, s, it->pos, n, ret))
		return -1;
	ret->s->n_cp = 1;
	it->pos += n;
	return 1;
}

static int dict_item(struct jrun *r, const struct jval *src, size_t i, struct jval *ret)
{
	const struct jentry *e = &src->dict->e[i];
	if (src->kind == J_VIEW && src->of == JVIEW_ITEMS)
		return jv_pair(r, e->key, e->val, ret) ? 1 : -1;
	*ret = src->kind == J_VIEW && src->of == JVIEW_VALUES ? e->val : e->key;
	return 1;
}

static int next_dict(struct jrun *r, struct jiter *it, struct jval *ret)
{
	if (it->pos >= it->src.dict->n)
		return 0;
	return dict_item(r, &it->src, it->pos++, ret);
}

static int next_range(struct jrun *r, struct jiter *it, struct jval *ret)
{
	(void)r;
	if (it->i >= it->src.range->n)
		return 0;
	*ret = jv_int(it->src.range->start + it->i++ * it->src.range->step);
	return 1;
}

/* An iterator value: whoever walks it uses up its items. */
static int next_shared(struct jrun *r, struct jiter *it, struct jval *ret)
{
	struct jiter *shared = it->src.iter;
	if (!jr_enter(r))
		return -1;
	int got = shared->next(r, shared, ret);
	jr_leave(r);
	if (got == 0)
		shared->next = next_none;
	return got;
}

static int next_reversed(struct jrun *r, struct jiter *it, struct jval *ret)
{
	const struct jval *src = &it->src;
	if (it->i <= 0)
		return 0;
	it->i--;
	switch (src->kind) {
	case J_RANGE: *ret = jv_int(src->range->start + it->i * src->range->step); return 1;
	case J_DICT:
	case J_VIEW:
		if ((size_t)it->i >= src->dict->n)
			return 0;
		return dict_item(r, src, (size_t)it->i, ret);
	default:
		if ((size_t)it->i >= src->list->n)
			return 0;
		*ret = src->list->v[it->i];
		return 1;
	}
}

typedef int next_fn(struct jrun *r, struct jiter *it, struct jval *ret);

static next_fn *const next_of[J_N_KIND] = {
	[J_UNDEF] = next_none, [J_STR] = next_str,   [J_LIST] = next_list,   [J_TUPLE] = next_list,
	[J_DICT] = next_dict,  [J_VIEW] = next_dict, [J_RANGE] = next_range, [J_ITER] = next_shared, [J_BYTES] = next_bytes,
};

bool ji_can(const struct jval *v)
{
	return next_of[v->kind] != NULL;
}

bool ji_open(struct jrun *r, const struct jval *v, struct jiter *it)
{
	if (!ji_can(v))
		return jr_fail(r, "'%s' object is not iterable", jv_type(v));
	*it = (struct jiter){.next = next_of[v->kind], .src = *v, .type = "iterator"};
	return true;
}

int ji_next(struct jrun *r, struct jiter *it, struct jval *ret)
{
	if (!jr_step(r))
		return -1;
	return it->next(r, it, ret);
}

bool ji_list(struct jrun *r, const struct jval *v, struct jval *ret)
{
	struct jiter it;
	struct jval l, item;
	size_t n = 0;
	int got;
	if (v->kind == J_LIST || v->kind == J_TUPLE)
		n = v->list->n;
	if (!ji_open(r, v, &it) || !jv_list(r, J_LIST, n, &l))
		return false;
	while ((got = ji_next(r, &it, &item)))
		if (got < 0 || !jv_push(r, l.list, item))
			return false;
	*ret = l;
	return true;
}

bool ji_make(struct jrun *r, const struct jiter *it, struct jval *ret)
{
	struct jiter *own = jr_alloc(r, sizeof *own);
	if (!own)
		return false;
	*own = *it;
	if (!own->type)
		own->type = "generator";
	*ret = (struct jval){.kind = J_ITER, .iter = own};
	return true;
}

bool ji_reversed(struct jrun *r, const struct jval *v, struct jval *ret)
{
	struct jiter it = {.next = next_reversed, .src = *v, .type = "reversed"};
	ret->kind = J_MISSING;
	switch (v->kind) {
	case J_LIST:
	case J_TUPLE: it.i = (int64_t)v->list->n; break;
	case J_DICT:
	case J_VIEW: it.i = (int64_t)v->dict->n; break;
	case J_RANGE: it.i = v->range->n; break;
	case J_UNDEF: break;
	default: return true;
	}
	return ji_make(r, &it, ret);
}

bool ji_is_generator(const struct jval *v)
{
	return v->kind == J_ITER && strcmp(v->iter->type, "generator") == 0;
}
