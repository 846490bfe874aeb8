/* openai: what the endpoints under /v1 share: error bodies, usage, messages, stop texts, reasoning effort. */
#ifndef CRIA_API_OPENAI_H
#define CRIA_API_OPENAI_H

#include "api/api_decode.h"
#include "api/gen_job.h"

/* The body {"error":{"message","type","param","code"}}. Errors found before the request reached the model's checks are sent
 * as early: `application/json; charset=utf-8` and no newline at the end; the others `application/json` with one. */
void openai_reply_err(struct api_call *call, const struct err *err);
void openai_reply_early(struct api_call *call, const struct err *err);
/* Body text with a newline as application/json. */
void openai_reply(struct api_call *call, int status, struct str *body);

/* `data: {"error":{...}}` and the end of the stream. */
void openai_late_error(struct gen_job *j, const char *msg, struct str *out);
/* A pull on the way, as a comment of the event stream: clients skip it, and know that the connection lives. */
void openai_status(struct gen_job *j, const char *status, const char *digest, int64_t total, int64_t completed, struct str *out);

/* A new reply id "PREFIX-<number>". */
void openai_new_id(struct gen_job *j, const char *prefix);
/* "usage":{...}. How many prompt tokens came from the prefix tree is told where there were any, as OpenAI's API does; otherwise the
 * form is Ollama's, which does not have this member. */
void openai_usage(struct jsonw *w, const struct gen_stats *s);

/* Options of a completion request by their OpenAI names. */
struct openai_sampling {
	json_t *max_tokens, *max_completion_tokens, *temperature, *top_p, *seed, *frequency_penalty, *presence_penalty, *stop;
};
/* Rows for an API field table whose struct has a member `s` of that type. */
#define OPENAI_SAMPLING_FIELDS(type)                                                                                           \
	{"max_tokens", API_F_NUM, offsetof(type, s.max_tokens)},                                                               \
	{"max_completion_tokens", API_F_NUM, offsetof(type, s.max_completion_tokens)}, /* OpenAI's newer name */               \
	{"temperature", API_F_NUM, offsetof(type, s.temperature)},                                                             \
	{"top_p", API_F_NUM, offsetof(type, s.top_p)},                                                                         \
	{"seed", API_F_NUM, offsetof(type, s.seed)},                                                                           \
	{"frequency_penalty", API_F_NUM, offsetof(type, s.frequency_penalty)},                                                 \
	{"presence_penalty", API_F_NUM, offsetof(type, s.presence_penalty)},                                                   \
	{"stop", API_F_ANY, offsetof(type, s.stop)}
/* As an "options" object; owned. strict_stop: a list element that is no text is an error instead of being dropped. */
int openai_options(const struct openai_sampling *s, bool strict_stop, json_t **ret, struct err *err);

/* An OpenAI message list in native form. Owned result. */
int openai_messages(struct api_call *call, const json_t *messages, json_t **ret, struct err *err);
/* "reasoning":{"effort"} or "reasoning_effort". */
int openai_think(struct api_call *call, const json_t *reasoning, const char *effort, struct api_think *ret, struct err *err);

#define OPENAI_JSON "application/json"
#define OPENAI_SSE "text/event-stream"

#endif
