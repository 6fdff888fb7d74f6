/*
 * Where a statement ends and what stands at the cursor, for the prompt: just enough of SQL's
 * grammar to tell code from strings, quoted names and comments. The server alone decides what is
 * right.
 */
#ifndef CLI_STATEMENT_H
#define CLI_STATEMENT_H

#include "base/buf.h"

enum cli_place {
    CLI_IN_CODE,
    CLI_IN_NAME, /* inside double quotes */
    CLI_IN_TEXT, /* inside a string or a comment */
};

struct cli_scan {
    size_t end;           /* behind the first semicolon of the code; SIZE_MAX: there is none */
    enum cli_place place; /* at the end of the text */
    size_t place_start;   /* of a quoted name: its quote */
    bool blank;           /* nothing but blanks and comments before `end` */
};

/** Look at `text` up to its first statement's end. */
void cli_statement_scan(struct str text, struct cli_scan *out);

/** Letters, digits, signs of names; all of UTF-8. */
bool cli_is_name_char(char c);

/** Append a name as SQL takes it: in double quotes where it is not plain. Parts are told apart by
 * dots when `dotted`. */
enum status cli_append_name(struct buf *out, struct str name, bool dotted) MUST_USE;

#endif
