/* `cria convert`: the process that turns model files into one GGUF file.
 *
 * As a child of the server it has no arguments: descriptor 3 holds {"files": [names], "type": text}, 4 is the new file, 5 and
 * on are the files in the order of the names. By hand: cria convert [--type TYPE] --out NEW FILE... It prints lines of JSON:
 * {"done": bytes, "total": bytes} now and then, at the end {"ok": true} or {"error": text, "code": class}. */
#ifndef CRIA_RUNNER_CONVERT_MAIN_H
#define CRIA_RUNNER_CONVERT_MAIN_H

int convert_main(int argc, char **argv);

#endif
