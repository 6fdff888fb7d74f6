/*
 * The connection of a client command, and how its failures read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli_priv.h"

static const char default_server[] = "http://127.0.0.1:3110";

enum status cli_connect(const char *server_option, struct http_client **out, struct err *err)
{
    const char *server = server_option, *source = "--server";
    if (server == NULL) {
        server = getenv("LAKEHOUSE_SERVER");
        source = "LAKEHOUSE_SERVER";
    }
    if (server == NULL || (server[0] == '\0' && server_option == NULL)) {
        server = default_server;
    }
    struct err why = { 0 };
    enum status status = http_client_new(
        &(struct http_client_opts){ .base_url = server, .service = "the server" }, out, &why);
    return status == OK ? OK : err_set(err, status, "%s: %s", source, why.msg);
}

enum status cli_call(struct http_client *client, const struct http_call *call,
                     struct http_answer *answer, struct err *err)
{
    enum status status = http_client_call_ok(client, call, answer, err);
    struct err why = *err;
    struct str id = http_headers_get(&answer->headers, STR("X-Request-Id"));
    if (status != OK && answer->status >= 500 && id.len > 0) {
        return err_set(err, status, "%s (request %.*s in the server's log)", why.msg, STR_ARG(id));
    }
    if (status != E_UPSTREAM || answer->status != 0) {
        return status;
    }
    return err_set(err, status,
                   "%s\nis it running? start one with: lakehouse serve (or name another: --server "
                   "URL, LAKEHOUSE_SERVER)",
                   why.msg);
}

int cli_failed(const char *command, const struct err *err)
{
    fflush(stdout); /* rows that came before stand before it on a terminal */
    fprintf(stderr, "lakehouse %s: %s\n", command, err->msg);
    return 1;
}

enum status cli_print(struct str text, struct err *err)
{
    /* nothing may be printed too, and has no address */
    size_t written = text.len > 0 ? fwrite(text.ptr, 1, text.len, stdout) : 0;
    if (written != text.len || fflush(stdout) != 0) {
        return err_errno(err, errno, "cannot write to standard output");
    }
    return OK;
}

enum status cli_get_json(struct http_client *client, struct str target, deadline_ms deadline,
                         yyjson_doc **out, struct err *err)
{
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    struct http_call call = { .method = HTTP_GET, .target = target, .deadline = deadline };
    TRY(cli_call(client, &call, &answer, err));
    return json_parse(buf_str(&answer.body), out, err);
}
