/* ollama_print: parts that answers of the native API share: time stamps, metrics, log probabilities, tool calls. */
#ifndef CRIA_API_OLLAMA_PRINT_H
#define CRIA_API_OLLAMA_PRINT_H

#include "api/gen_job.h"

/* `"created_at":"..."` with the present time. */
void ollama_created_at(struct jsonw *w);
/* The members that tell of a pull: "status", "digest", "total", "completed". */
void ollama_status(struct jsonw *w, const char *status, const char *digest, int64_t total, int64_t completed);
/* The durations and counts of a last object; what is zero is left out. */
void ollama_metrics(struct jsonw *w, const struct gen_job *j, const struct gen_stats *s);
/* `"logprobs":[...]` unless empty. */
void ollama_logprobs(struct jsonw *w, const json_t *logprobs);
void ollama_logprob_list(struct jsonw *w, const json_t *logprobs);
/* The value of "tool_calls". */
void ollama_tool_calls(struct jsonw *w, const json_t *calls);
/* `"_debug_info":{...}`: the rendered prompt. */
void ollama_debug_info(struct jsonw *w, const struct gen_job *j);
const char *ollama_done_reason(const struct gen_event *ev);
/* `{"error":msg}` and a newline: how a stream ends that fails. */
void ollama_late_error(struct gen_job *j, const char *msg, struct str *out);

#define OLLAMA_JSON "application/json; charset=utf-8"
#define OLLAMA_NDJSON "application/x-ndjson"

#endif
