/* runner: the process that holds one loaded model. The server starts it with one end of a Unix socketpair on descriptor 3
 * and speaks ipc frames with it; it ends when that socket closes. It opens nothing by path. */
#ifndef CRIA_RUNNER_H
#define CRIA_RUNNER_H

enum { RUNNER_FD = 3 }; /* the socket of a runner, the model file of an inspect child */

/* The whole life of the process; returns its exit status. argv[0] is the word "runner". */
int runner_main(int argc, char **argv);

#endif
