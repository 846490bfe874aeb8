/* POST /api/create: a model from uploaded files or from an installed model, with layers changed. Runs on the worker thread
 * and reports its steps as a stream of status lines. */
#include <ctype.h>
#include <stdatomic.h>
#include <string.h>

#include "api/api_decode.h"
#include "api/api_endpoints.h"
#include "api/ollama/create_model.h"
#include "api/ollama/ollama_print.h"
#include "api/ollama/progress.h"
#include "base/bug.h"
#include "base/host.h"
#include "base/log.h"

struct create_fields {
	const char *model, *name, *quantize, *quantization, *draft_quantize, *from, *remote_host, *template_text, *system;
	const char *renderer, *parser, *requires;
	json_t *files, *draft_files, *adapters, *license, *parameters, *messages, *info;
	int stream;
};

static const struct api_field table[] = {
	{"model", API_F_STR, offsetof(struct create_fields, model)},
	{"name", API_F_STR, offsetof(struct create_fields, name)},
	{"stream", API_F_BOOL, offsetof(struct create_fields, stream)},
	{"quantize", API_F_STR, offsetof(struct create_fields, quantize)},
	{"quantization", API_F_STR, offsetof(struct create_fields, quantization)},
	{"draft_quantize", API_F_STR, offsetof(struct create_fields, draft_quantize)},
	{"from", API_F_STR, offsetof(struct create_fields, from)},
	{"remote_host", API_F_STR, offsetof(struct create_fields, remote_host)},
	{"files", API_F_STR_MAP, offsetof(struct create_fields, files)},
	{"draft_files", API_F_STR_MAP, offsetof(struct create_fields, draft_files)},
	{"adapters", API_F_STR_MAP, offsetof(struct create_fields, adapters)},
	{"template", API_F_STR, offsetof(struct create_fields, template_text)},
	{"license", API_F_ANY, offsetof(struct create_fields, license)},
	{"system", API_F_STR, offsetof(struct create_fields, system)},
	{"parameters", API_F_OBJ, offsetof(struct create_fields, parameters)},
	{"messages", API_F_ARR, offsetof(struct create_fields, messages)},
	{"renderer", API_F_STR, offsetof(struct create_fields, renderer)},
	{"parser", API_F_STR, offsetof(struct create_fields, parser)},
	{"requires", API_F_STR, offsetof(struct create_fields, requires)},
	{"info", API_F_OBJ, offsetof(struct create_fields, info)},
};

/* One creation under way. */
struct creation {
	struct api_call *call;
	struct create_fields f;
	struct create_model model;
	bool stream, began;
	char type[12];        /* of the weights that are wanted, upper case; "": as they come */
	bool converted;       /* the weights have it already */
	int64_t done, total;  /* bytes of a conversion as last told */
	_Atomic bool *gone;   /* the client left; lives in the call's arena */
};

/* ---- progress ---- */

static void object_text(const char *key, const char *text, struct str *out)
{
	struct jsonw w;
	jsonw_init(&w, out, JSONW_GO);
	jsonw_obj(&w);
	jsonw_kstr(&w, key, text);
	jsonw_obj_end(&w);
}

static void send_line(struct creation *c, const char *key, const char *text)
{
	struct str out = {0};
	struct api_header h = {"Content-Type", OLLAMA_NDJSON};
	object_text(key, text, &out);
	str_addc(&out, '\n');
	if (!c->began)
		c->call->ops->stream_begin(c->call, 200, &h, 1);
	c->began = true;
	c->call->ops->stream_write(c->call, out.data, out.len);
	str_release(&out);
}

static void status(struct creation *c, const char *text)
{
	if (c->stream)
		send_line(c, "status", text);
}

/* The lines of the pull of a base model that is not installed; its "success" is not the creation's. */
static void on_pull(void *user, const char *text, const char *digest, int64_t total, int64_t completed)
{
	struct creation *c = user;
	struct str out = {0};
	if (!c->stream || !strcmp(text, "success"))
		return;
	if (!digest) {
		status(c, text);
		return;
	}
	progress_line(text, digest, total, completed, &out);
	c->call->ops->stream_write(c->call, out.data, out.len);
	str_release(&out);
}

static bool left(void *user)
{
	struct creation *c = user;
	return atomic_load(c->gone);
}

/* "quantizing F16 model to Q4_K_M" with its numbers; the digest is the one that clients know the line by. */
static void send_progress(struct creation *c)
{
	struct str line = {0}, text = {0};
	const char *from = api_json_text(c->model.facts, "file_type");
	str_printf(&text, "quantizing %s%smodel to %s", from, *from ? " " : "", c->type);
	progress_line(text.data, "0000000000000000000", c->total, c->done, &line);
	c->call->ops->stream_write(c->call, line.data, line.len);
	str_release(&line);
	str_release(&text);
}

static bool on_progress(void *user, int64_t done, int64_t total)
{
	struct creation *c = user;
	if (total && c->stream && c->began && *c->type && (done != c->done || total != c->total)) {
		c->done = done;
		c->total = total;
		send_progress(c);
	}
	return !atomic_load(c->gone);
}

static struct create_work work_of(struct creation *c)
{
	return (struct create_work){.type = c->type, .progress = on_progress, .user = c};
}

static void finish(struct creation *c, int rc, const struct err *err)
{
	struct str out = {0};
	if (!rc && c->stream) {
		status(c, "success");
		c->call->ops->stream_end(c->call);
	} else if (c->began) {
		send_line(c, "error", err->msg);
		c->call->ops->stream_end(c->call);
	} else {
		object_text(rc ? "error" : "status", rc ? err->msg : "success", &out);
		api_reply_text(c->call, rc ? api_status_of(err->code) : 200, "application/json", out.data);
	}
	str_release(&out);
}

/* ---- sources ---- */

static bool looks_relative(const char *path)
{
	if (*path == '/' || !*path)
		return false;
	for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
		if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
			return false;
	return true;
}

static int check_paths(const json_t *files, struct err *err)
{
	for (void *it = json_object_iter((json_t *)files); it; it = json_object_iter_next((json_t *)files, it))
		if (!looks_relative(json_object_iter_key(it)))
			return err_set(err, ERR_INVALID, "file path must be relative");
	return 0;
}

static bool any_name_ends(const json_t *files, const char *suffix)
{
	for (void *it = json_object_iter((json_t *)files); it; it = json_object_iter_next((json_t *)files, it))
		if (ends_with(json_object_iter_key(it), suffix))
			return true;
	return false;
}

/* "x-00001-of-00003.gguf" */
static bool any_is_split(const json_t *files)
{
	for (void *it = json_object_iter((json_t *)files); it; it = json_object_iter_next((json_t *)files, it))
		if (strstr(json_object_iter_key(it), "-of-0") && json_object_size(files) > 1)
			return true;
	return false;
}

static int take_safetensors(struct creation *c, const json_t *files, bool adapter, struct err *err)
{
	struct create_work work = work_of(c);
	status(c, adapter ? "converting adapter" : "converting model");
	if (adapter)
		return err_set(err, ERR_UNSUPPORTED, "this server takes adapters as GGUF files; convert the safetensors files first");
	if (!json_object_get(files, "config.json"))
		return err_set(err, ERR_INTERNAL, "open config.json: no such file or directory");
	c->converted = true;
	return create_add_converted(&c->model, files, &work, err);
}

static int take_files(struct creation *c, const json_t *files, bool adapter, struct err *err)
{
	struct create_work work = work_of(c);
	int rc = 0;
	if (any_name_ends(files, ".safetensors"))
		return take_safetensors(c, files, adapter, err);
	if (!json_object_size(files))
		return err_set(err, ERR_INVALID, "unknown type");
	status(c, "parsing GGUF");
	if (!adapter && any_is_split(files)) {
		c->converted = true;
		rc = create_add_converted(&c->model, files, &work, err);
	} else {
		for (void *it = json_object_iter((json_t *)files); !rc && it; it = json_object_iter_next((json_t *)files, it))
			rc = create_add_gguf(&c->model, json_string_value(json_object_iter_value(it)), adapter, err);
	}
	if (!rc && !adapter)
		status(c, "verifying conversion"); /* done by reading the file's facts; clients know the line */
	return rc;
}

static int take_from(struct creation *c, struct err *err)
{
	struct store_name name;
	struct store_model *base = NULL;
	if (!store_name_parse(c->f.from, &name))
		return err_set(err, ERR_INVALID, "invalid model name");
	int rc = store_resolve(c->model.ctx->store, &name, &base, err);
	if (rc == ERR_NOT_FOUND) {
		struct registry_sink sink = {.progress = on_pull, .canceled = left, .user = c};
		rc = registry_pull(c->call->ctx->registry, &name, false, &sink, err);
		if (!rc)
			rc = store_resolve(c->model.ctx->store, &name, &base, err);
	}
	if (!rc)
		rc = create_from_model(&c->model, base, err);
	store_model_free(base);
	return rc;
}

/* A stub that names a model on another server. */
static int take_remote(struct creation *c, struct err *err)
{
	struct host h;
	bool bad_port;
	char url[600];
	host_parse(c->f.remote_host, &h, &bad_port);
	if (bad_port || !*h.name)
		return err_set(err, ERR_INVALID, "bad remote");
	host_url(&h, url, sizeof url);
	json_object_set_new(c->model.config, "remote_host", json_string_nocheck(url));
	json_object_set_new(c->model.config, "remote_model", json_string_nocheck(c->f.from));
	return 0;
}

static int take_source(struct creation *c, struct err *err)
{
	if (*c->f.remote_host)
		return take_remote(c, err);
	if (*c->f.from)
		return take_from(c, err);
	if (!c->f.files)
		return err_set(err, ERR_INVALID, "neither 'from' or 'files' was specified");
	return take_files(c, c->f.files, false, err);
}

/* ---- edits ---- */

/* The types of `cria convert`. */
static const char *const type_names[] = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K_S", "Q3_K_M",
					 "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"};

static int find_type(struct creation *c, struct err *err)
{
	const char *want = *c->f.quantize ? c->f.quantize : c->f.quantization;
	bool whole = strcasecmp(want, "Q4_K") && strcasecmp(want, "Q3_K") && strcasecmp(want, "Q5_K"); /* else short for "_M" */
	struct str all = {0};
	if (!*want)
		return 0;
	snprintf(c->type, sizeof c->type, "%s%s", want, whole ? "" : "_M");
	for (char *p = c->type; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	for (size_t i = 0; i < ARRAY_LEN(type_names); i++) {
		if (!strcmp(type_names[i], c->type)) {
			str_release(&all);
			return 0;
		}
		str_printf(&all, "%s%s", i ? ", " : "", type_names[i]);
	}
	int rc = err_set(err, ERR_INTERNAL, "unsupported quantization type %s - supported types are %s", c->type, all.data);
	str_release(&all);
	return rc;
}

static int quantize(struct creation *c, struct err *err)
{
	struct create_work work = work_of(c);
	if (!*c->type || c->converted || !strcmp(api_json_text(c->model.facts, "file_type"), c->type))
		return 0;
	if (c->stream && !c->began) {
		char line[64];
		snprintf(line, sizeof line, "quantizing %s model to %s", api_json_text(c->model.facts, "file_type"), c->type);
		status(c, line);
	}
	return create_quantize(&c->model, &work, err);
}

static int check_template(const struct creation *c, struct err *err)
{
	json_t *facts;
	if (!*c->f.template_text)
		return 0;
	int rc = sched_inspect_template(c->model.ctx->sched, c->f.template_text, "", &facts, err);
	if (rc == ERR_FORMAT) {
		err_prefix(err, "template error");
		err->code = rc = ERR_INVALID;
	}
	if (!rc)
		json_decref(facts);
	return rc;
}

static int add_licenses(struct creation *c, struct err *err)
{
	json_t *v = c->f.license;
	int rc = 0;
	if (!v)
		return 0;
	if (json_is_string(v))
		return json_string_length(v) ? create_add_license(&c->model, api_text(c->call, v), err) : 0;
	if (!json_is_array(v))
		return err_set(err, ERR_INTERNAL, "json: cannot unmarshal %s into Go value of type []string",
			       json_is_number(v) ? "number" : json_is_boolean(v) ? "bool" : "object");
	for (size_t i = 0; !rc && i < json_array_size(v); i++) {
		json_t *x = json_array_get(v, i);
		rc = json_is_string(x) ? create_add_license(&c->model, api_text(c->call, x), err)
				       : err_set(err, ERR_INTERNAL, "json: cannot unmarshal list element into Go value of type string");
	}
	return rc;
}

static void set_config_text(struct creation *c, const char *key, const char *text)
{
	if (*text)
		json_object_set_new(c->model.config, key, json_string(text));
}

static int edit(struct creation *c, struct err *err)
{
	struct create_model *m = &c->model;
	const char *detected = NULL;
	char line[64];
	int rc;
	set_config_text(c, "renderer", c->f.renderer);
	set_config_text(c, "parser", c->f.parser);
	set_config_text(c, "requires", c->f.requires);
	if ((rc = check_template(c, err)) || (rc = quantize(c, err)))
		return rc;
	if (!*c->f.from && !*c->f.template_text && (rc = create_autodetect(m, &detected, err)))
		return rc;
	if (detected) {
		snprintf(line, sizeof line, "using autodetected template %s", detected);
		status(c, line);
	}
	if ((rc = create_set_text(m, MEDIA("template"), c->f.template_text, err)) ||
	    (rc = create_set_text(m, MEDIA("system"), c->f.system, err)) || (rc = add_licenses(c, err)) ||
	    (rc = create_set_params(m, c->f.parameters, err)) || (rc = create_set_messages(m, c->f.messages, err)))
		return rc;
	return create_set_config(m, c->f.info, err);
}

static void report_layers(struct creation *c)
{
	for (size_t i = 0; i < c->model.layers.n; i++) {
		const struct create_layer *l = &c->model.layers.data[i];
		char line[128];
		snprintf(line, sizeof line, "%s %s", l->existed ? "using existing layer" : "creating new layer", l->digest);
		status(c, line);
	}
}

static int create(struct creation *c, const struct store_name *name, struct err *err)
{
	int rc = find_type(c, err);
	if (!rc)
		rc = take_source(c, err);
	if (!rc && c->f.adapters)
		rc = json_object_size(c->f.adapters) == 1 ? take_files(c, c->f.adapters, true, err)
							  : err_set(err, ERR_INVALID, "only one adapter is currently supported");
	if (!rc && !*c->f.remote_host && !create_has(&c->model, MEDIA("model")))
		rc = err_set(err, ERR_INVALID, "the files hold no model: none of them has a language model's tensors");
	if (!rc)
		rc = edit(c, err);
	if (rc)
		return rc;
	report_layers(c);
	status(c, "writing manifest");
	return create_write(&c->model, name, err);
}

/* ---- the request ---- */

/* What is refused before the work begins. */
static int check(const struct create_fields *f, struct store_name *name, struct err *err)
{
	int rc;
	if (*f->draft_quantize && !json_object_size(f->draft_files))
		return err_set(err, ERR_INVALID, "--draft-quantize requires a DRAFT model");
	if (!store_name_parse(*f->model ? f->model : f->name, name))
		return err_set(err, ERR_INVALID, "invalid model name");
	if ((rc = check_paths(f->files, err)) || (rc = check_paths(f->adapters, err)) || (rc = check_paths(f->draft_files, err)))
		return rc;
	if (json_object_size(f->draft_files))
		return err_set(err, ERR_UNSUPPORTED, "this server uses no draft models; leave DRAFT out");
	return 0;
}

static void on_end(void *user, bool gone)
{
	atomic_store((_Atomic bool *)user, gone);
}

static void on_low(void *user)
{
	(void)user; /* a status line more or less does not fill a socket */
}

static int begin(struct creation *c, struct api_ctx *ctx, struct err *err)
{
	c->stream = c->f.stream != 0;
	c->gone = arena_zalloc(&c->call->arena, sizeof *c->gone);
	if (!c->gone)
		return err_set(err, ERR_NOMEM, "not enough memory for the request");
	c->call->ops->watch(c->call, on_end, on_low, (void *)c->gone);
	create_model_init(&c->model, ctx);
	return 0;
}

void api_create(struct api_ctx *ctx, struct api_call *call)
{
	struct creation c = {.call = call};
	struct store_name name;
	struct err err;
	json_t *body;
	int rc = api_body(call, "CreateRequest", "missing request body", &body, &err);
	if (!rc)
		rc = api_decode(call, body, "CreateRequest", table, ARRAY_LEN(table), &c.f, &err);
	if (!rc)
		rc = check(&c.f, &name, &err);
	if (!rc)
		rc = begin(&c, ctx, &err);
	if (rc) {
		api_reply_err(call, &err);
	} else {
		rc = create(&c, &name, &err);
		if (rc)
			log_info("create failed req=%s model=\"%s\" error=%s: %s", call->id, name.model, err_name(err.code), err.msg);
		finish(&c, rc, &err);
		create_model_release(&c.model);
	}
	json_decref(body);
}
