/*
 * Wiring: from argv to a running service or a client command.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

/** The program: returns its exit code. 0 done, 1 it failed, 2 it was called or set up wrongly. */
int cmd_main(int argc, char **argv);

/* The commands; argv begins with the command's own word. */
int cmd_serve(const char *service, int argc, char **argv);
int cmd_config(int argc, char **argv);

/** The overview, or the settings of one service (NULL: the overview). Returns 0. */
int cmd_help(const char *service);
/** Undocumented in the help: print the reference pages that are made from tables. */
int cmd_reference(int argc, char **argv);

#endif
