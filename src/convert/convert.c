#include "convert/convert.h"

#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "convert/convert_hf.h"

static int run_gguf(const struct convert_job *job, const struct convert_mix *mix, struct convert_model *m, struct err *err)
{
	struct gguf **parts = mem_calloc(job->n_file, sizeof *parts);
	int rc = 0;
	for (size_t i = 0; !rc && i < job->n_file; i++)
		if ((rc = gguf_open(job->files[i].fd, &parts[i], err)))
			err_prefix(err, "%s", job->files[i].name);
	if (!rc)
		rc = convert_gguf_read(parts, job->n_file, m, err);
	if (!rc) {
		convert_mix_apply(mix, m);
		rc = convert_write(m, job, err);
	}
	for (size_t i = 0; i < job->n_file; i++)
		gguf_close(parts[i]);
	mem_free(parts);
	return rc;
}

static int run_hf(const struct convert_job *job, const struct convert_mix *mix, struct convert_model *m, struct err *err)
{
	struct convert_hf h;
	int rc = convert_hf_open(job, &h, err);
	if (!rc)
		rc = convert_hf_read(&h, m, err);
	if (!rc) {
		convert_mix_apply(mix, m);
		rc = convert_write(m, job, err);
	}
	convert_hf_release(&h);
	return rc;
}

static bool any_safetensors(const struct convert_job *job)
{
	for (size_t i = 0; i < job->n_file; i++)
		if (ends_with(job->files[i].name, ".safetensors"))
			return true;
	return false;
}

int convert_run(const struct convert_job *job, struct err *err)
{
	enum { NAMES_MAX_BYTES = 256 << 20 };
	struct convert_model m = {.file_type = -1};
	const struct convert_mix *mix = *job->type ? convert_mix_find(job->type) : NULL;
	if (*job->type && !mix)
		return err_set(err, ERR_INVALID, "unsupported quantization type %s - supported types are %s", job->type,
			       convert_mix_names());
	if (!job->n_file)
		return err_set(err, ERR_INVALID, "no files to convert");
	arena_init(&m.names, NAMES_MAX_BYTES);
	int rc = any_safetensors(job) ? run_hf(job, mix, &m, err) : run_gguf(job, mix, &m, err);
	gguf_writer_release(&m.w);
	vec_release(&m.tensors);
	arena_release(&m.names);
	return rc;
}
