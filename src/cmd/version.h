/* The version of the program; CHANGELOG.md says what is in it. */
#ifndef CMD_VERSION_H
#define CMD_VERSION_H

#define LAKEHOUSE_VERSION "0.1.0"
#define LAKEHOUSE_VERSION_DATE "2026-11-26"

#endif
