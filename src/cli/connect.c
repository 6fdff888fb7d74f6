/*
 * The connection of a client command, and how its failures read.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli_priv.h"

enum status cli_connect(const char *server_option, struct http_client **out, struct err *err)
{
    const char *server = server_option != NULL ? server_option : getenv("LAKEHOUSE_SERVER");
    if (server == NULL || server[0] == '\0') {
        server = "http://127.0.0.1:3110";
    }
    return http_client_new(
        &(struct http_client_opts){ .base_url = server, .service = "the server" }, out, err);
}

int cli_failed(const char *command, const struct err *err)
{
    fprintf(stderr, "lakehouse %s: %s\n", command, err->msg);
    if (err->kind == E_UPSTREAM) {
        fprintf(
            stderr,
            "is it running? start one with: lakehouse serve (or name another: --server URL, LAKEHOUSE_SERVER)\n");
    }
    return 1;
}

enum status cli_get_json(struct http_client *client, struct str target, yyjson_doc **out,
                         struct err *err)
{
    AUTO(http_answer_done) struct http_answer answer = { 0 };
    TRY(http_client_call_ok(client, &(struct http_call){ .method = HTTP_GET, .target = target },
                            &answer, err));
    return json_parse(buf_str(&answer.body), out, err);
}
