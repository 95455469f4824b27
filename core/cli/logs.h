/* logs.h - `moongate logs` and `moongate trace`: what happened, in the terminal.
 *
 * Both ask the running gateway through its control socket, and open the store themselves when none
 * runs. They print to stdout, complain on stderr and return the exit code: 0, 1 when it failed or
 * there is no such request, 2 for wrong usage. argv[0] is the name of the subcommand. */
#ifndef MG_CLI_LOGS_H
#define MG_CLI_LOGS_H

int mg_cli_logs(int argc, char **argv);
int mg_cli_trace(int argc, char **argv);

#endif
