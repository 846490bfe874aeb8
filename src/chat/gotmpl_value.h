/* gotmpl_value: the values of a render after Go's reflection model: a kind, the Go type's name, and whether the value
 * stands in an interface (elements of []any and map[string]any do). Values live in the render's arena or refer to the
 * JSON input, which outlives it. Nothing is freed singly; nothing changes after it is made. */
#ifndef CRIA_CHAT_GOTMPL_VALUE_H
#define CRIA_CHAT_GOTMPL_VALUE_H

#include "chat/gotmpl_ast.h"

enum gkind {
	GV_INVALID, /* no value: Go's zero reflect.Value, prints <no value> */
	GV_NIL,     /* a nil interface, or (with a type that is a pointer) a nil pointer */
	GV_BOOL,
	GV_INT,
	GV_UINT8, /* a byte of a string */
	GV_FLOAT,
	GV_COMPLEX,
	GV_STR,
	GV_SLICE,
	GV_MAP,
	GV_STRUCT
};

enum gprint {
	GPRINT_PLAIN, /* as fmt prints the structure */
	GPRINT_JSON,  /* the type has a String method that gives JSON */
	GPRINT_WORDS  /* one word as it is, several in brackets (a schema's `type`) */
};

struct gtype;
struct gfield {
	const char *name, *json;
	bool omit_empty;
	enum gkind kind; /* GV_NIL: interface {}, or a pointer when it has a type */
	const struct gtype *type;
};

struct gtype {
	const char *name;            /* "map[string]interface {}" */
	enum gprint print;
	bool pointer;                /* equality is identity */
	bool json_words;             /* one element is written without the array */
	enum gkind elem_kind;        /* SLICE, MAP: of elements; GV_NIL: interface {} */
	const struct gtype *elem;
	const struct gfield *fields; /* STRUCT */
	size_t n_fields;
};

struct gval {
	uint8_t kind; /* enum gkind */
	bool iface;   /* stands in an interface {} */
	bool nil;     /* a SLICE or MAP that is nil */
	const struct gtype *type; /* SLICE, MAP, STRUCT, nil pointers; NULL otherwise */
	union {
		bool b;
		int64_t i; /* INT, UINT8 */
		double f;
		struct {
			double re, im;
		};
		struct gstr s;
		struct {
			struct gval *v;
			size_t n;
		};
		struct gmap *map;
		struct gval *fields; /* [type->n_fields] */
	};
};

struct gentry {
	struct gstr key;
	struct gval val;
};
struct gmap {
	struct gentry *e; /* [n], sorted by key */
	size_t n;
	uint32_t *order; /* the order JSON shows; NULL: sorted */
};

extern const struct gtype gtype_any_slice, gtype_any_map, gtype_strings;

static inline struct gval gv_none(void)
{
	return (struct gval){.kind = GV_INVALID};
}
static inline struct gval gv_nil(void)
{
	return (struct gval){.kind = GV_NIL, .iface = true};
}
static inline struct gval gv_bool(bool b)
{
	return (struct gval){.kind = GV_BOOL, .b = b};
}
static inline struct gval gv_int(int64_t i)
{
	return (struct gval){.kind = GV_INT, .i = i};
}
static inline struct gval gv_float(double f)
{
	return (struct gval){.kind = GV_FLOAT, .f = f};
}
static inline struct gval gv_str(struct gstr s)
{
	return (struct gval){.kind = GV_STR, .s = s};
}
static inline struct gval gv_strz(const char *z)
{
	return gv_str((struct gstr){z, strlen(z)});
}
/* As it stands in an interface. */
static inline struct gval gv_boxed(struct gval v)
{
	v.iface = v.kind != GV_INVALID;
	return v;
}
/* What an interface holds: nothing for a nil one. */
static inline struct gval gv_unbox(struct gval v)
{
	if (v.kind == GV_NIL && !v.type)
		return gv_none();
	v.iface = false;
	return v;
}

bool gv_truth(const struct gval *v);
size_t gv_len(const struct gval *v); /* of a SLICE, MAP or STR */
struct gentry *gv_find(const struct gmap *m, struct gstr key);
void gv_sort(struct gmap *m);
/* Go's name of the static type, which is the interface for values in one; and of what is inside. */
const char *gv_static_type(const struct gval *v);
const char *gv_type(const struct gval *v);

#endif
