/*
 * Wiring: from argv to a running service or a client command.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <stdbool.h>
#include <stdio.h>

/** The program: returns its exit code. 0 done, 1 it failed, 2 it was called or set up wrongly. */
int cmd_main(int argc, char **argv);

/* The commands; argv begins with the command's own word. */
int cmd_serve(const char *service, int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_completion(int argc, char **argv);

/** Whether `--help` or `-h` stands behind the command's word. */
bool cmd_wants_help(int argc, char **argv);
/** The commands, in one screen. Returns 0. */
int cmd_overview(FILE *out);
/** What a service does, and the settings that it reads. Returns 0. */
int cmd_help(const char *service);
/** What COMMAND --help prints. Returns the exit code. */
int cmd_command_help(const char *command);
/** Undocumented in the help: print the reference pages that are made from tables. */
int cmd_reference(int argc, char **argv);

#endif
