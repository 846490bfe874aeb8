/* serve: the server process from start to end. Starts store, scheduler and HTTP in this order, waits for a signal, stops them
 * in reverse. The only place of the server that exits. */
#ifndef CRIA_SERVE_H
#define CRIA_SERVE_H

/* `cria serve`: argv[0] is the command word. Returns the exit status. */
int serve_main(int argc, char **argv);

#endif
