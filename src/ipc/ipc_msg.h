/* ipc_msg: what server and runner tell each other, as structs, with their JSON forms for the wire. `gen_req` is what every
 * API dialect turns its request into; `gen_event` is what every answer is made of. Neither knows a dialect.
 *
 * Encoders append JSON to a str; decoders fill the struct and check every field (ERR_INVALID names it). A decoded struct
 * owns its strings and JSON references: release it with *_release. */
#ifndef CRIA_IPC_MSG_H
#define CRIA_IPC_MSG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"

/* ---- loading ---- */

struct load_req {
	char *name;            /* model name for logs */
	int64_t n_ctx_max;     /* longest sequence to prepare for; 0: trained length */
	int64_t kv_bytes;      /* budget for KV pages; 0: enough for one sequence of n_ctx_max */
	int n_thread;          /* 0: automatic */
	bool speculation;      /* tokens are guessed and checked: the same answers, sooner */
	char *kernels, *cpu;   /* CRIA_KERNELS, CRIA_CPU; NULL: best */
	char *kv_type;         /* CRIA_KV_CACHE_TYPE; NULL: f16 */
	char *template_text;   /* overrides the file's chat template; NULL: the file's */
};

struct loaded_info {
	char *arch;
	int64_t n_ctx_train, n_ctx_max;
	int n_vocab, n_embd, pooling; /* pooling as model_pooling */
	bool is_encoder, has_template;
	int64_t weights_bytes, kv_bytes, other_bytes;
	int64_t kv_bytes_per_tok;
	char *kernels;         /* level in use */
	int n_thread;
};

/* ---- generating ---- */

enum gen_kind {
	GEN_CHAT,   /* messages through the template */
	GEN_PROMPT, /* prompt as it is (raw), special tokens parsed, BOS added by the model's rule; with a suffix: go_template
	             * makes the prompt that asks for the text between them */
	GEN_EMBED   /* inputs to vectors */
};

/* Sampling and limits: defaults as Ollama's (spec/ollama-api.md 5). */
struct gen_opts {
	int64_t num_ctx;       /* 0: the runner's limit */
	int64_t num_thread;    /* for loading the model, so never sent with a request; 0 or less: the server's setting */
	int64_t num_predict;   /* negative: until the context is full */
	int64_t num_keep;
	int64_t seed;          /* negative: random */
	double temperature, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty;
	int64_t top_k, repeat_last_n;
	char **stop;           /* [n_stop] */
	size_t n_stop;
	bool ignore_eos;
};

struct gen_req {
	enum gen_kind kind;
	char *req_id;            /* for logs */
	json_t *messages;        /* GEN_CHAT: neutral messages (chat/chat.h) */
	json_t *tools;           /* array or NULL */
	json_t *template_kwargs; /* object or NULL */
	char *go_template;       /* Go template that makes the prompt; NULL: the model's own (Jinja) */
	bool custom_template;    /* go_template came with the request: its errors are the client's, images get no tags */
	char *prompt;            /* GEN_PROMPT */
	char *suffix;            /* GEN_PROMPT with go_template, or NULL */
	struct ids context;      /* token ids put in front of the prompt */
	json_t *inputs;          /* GEN_EMBED: array of strings */
	int64_t dimensions;      /* GEN_EMBED: 0 all */
	bool normalize;          /* GEN_EMBED */
	bool truncate, shift;
	json_t *format;          /* "json" or a schema object; NULL none */
	int think;               /* -1 unset, 0, 1 */
	char *think_level;       /* NULL, "low", "medium", "high", "max" */
	bool logprobs;
	int top_logprobs;        /* 0-20 */
	bool want_context;       /* DONE carries the ids of prompt and answer */
	bool render_only;        /* answer with EV_RENDERED, generate nothing */
	struct gen_opts opts;
};

enum gen_event_kind { EV_TEXT, EV_TOOL_CALL, EV_RENDERED, EV_EMBEDDING, EV_DONE, EV_ERROR };

enum done_reason { DONE_STOP, DONE_LENGTH, DONE_CANCELED };

struct gen_stats {
	int64_t n_prompt, n_cached, n_generated;
	int64_t n_drafted, n_accepted; /* guessed tokens that steps checked, and those that came true */
	int64_t prefill_ns, decode_ns, queued_ns;
};

struct gen_event {
	enum gen_event_kind kind;
	char *text;              /* EV_TEXT: answer text; EV_RENDERED: prompt; EV_ERROR: message */
	char *thinking;          /* EV_TEXT: thinking text or NULL */
	json_t *logprobs;        /* EV_TEXT: array of {"token","logprob","bytes","top_logprobs"} or NULL */
	json_t *tool_call;       /* EV_TOOL_CALL: {"name","arguments"} */
	int code;                /* EV_ERROR: enum err_code */
	const float *values;     /* EV_EMBEDDING: n_values, borrowed from the frame */
	size_t n_values;
	int i_input;             /* EV_EMBEDDING: index of the input */
	int64_t n_input_tok;     /* EV_EMBEDDING: tokens of that input */
	enum done_reason reason; /* EV_DONE */
	struct gen_stats stats;  /* EV_DONE */
	struct ids context;      /* EV_DONE, when asked for */
};

struct ipc_embedding_head {
	uint32_t i_input, n_values;
	uint64_t n_input_tok;
};

struct runner_stats {
	int n_active, n_queued;
	int64_t kv_used_bytes, kv_budget_bytes;
	int64_t n_step;
	int64_t step_age_ns;   /* how long the running step has taken; 0 when idle */
	int64_t major_faults;  /* of the runner process, so that a cold file on a slow disk is not taken for a hang */
	int64_t rss_bytes;
};

void gen_opts_default(struct gen_opts *o);
void gen_req_init(struct gen_req *r); /* defaults: truncate, shift, normalize on, think unset, gen_opts_default */
void gen_req_release(struct gen_req *r);
void gen_req_encode(const struct gen_req *r, struct str *out);
/* Replaces opts.num_ctx in an encoded request: the scheduler learns the model's limit after it encoded. */
void gen_req_set_num_ctx(struct str *encoded, int64_t num_ctx);
int gen_req_decode(const char *data, size_t n, struct gen_req *ret, struct err *err);

void gen_event_release(struct gen_event *e);
void gen_event_encode(const struct gen_event *e, struct str *out); /* not for EV_EMBEDDING: that is a raw frame */
/* Payload of IPC_EMBEDDING: ipc_embedding_head and the values. Decoding borrows the values from data, which
 * must be aligned as frames are. */
void gen_event_encode_embedding(const struct gen_event *e, struct str *out);
int gen_event_decode_embedding(const char *data, size_t n, struct gen_event *ret, struct err *err);
int gen_event_decode(const char *data, size_t n, struct gen_event *ret, struct err *err);

void load_req_release(struct load_req *r);
void load_req_encode(const struct load_req *r, struct str *out);
int load_req_decode(const char *data, size_t n, struct load_req *ret, struct err *err);
void loaded_info_release(struct loaded_info *i);
void loaded_info_encode(const struct loaded_info *i, struct str *out);
int loaded_info_decode(const char *data, size_t n, struct loaded_info *ret, struct err *err);
void runner_stats_encode(const struct runner_stats *s, struct str *out);
int runner_stats_decode(const char *data, size_t n, struct runner_stats *ret, struct err *err);

/* Payload of IPC_PROGRESS: 0..1. */
void load_progress_encode(double share, struct str *out);
int load_progress_decode(const char *data, size_t n, double *ret_share, struct err *err);
/* Payload of IPC_FAILED. Decoding fills *ret_failed with the runner's error. */
void load_failed_encode(const struct err *failed, struct str *out);
int load_failed_decode(const char *data, size_t n, struct err *ret_failed, struct err *err);

#endif
