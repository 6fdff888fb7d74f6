/*
 * The guard for whoever has no session.
 */
#include "duck/duck_priv.hpp"
#include "duck/script.hpp"

extern "C" {
#include "duck/guard_check.h"
}

enum status duck_guard_check(struct str sql, size_t *statements_out, struct err *err)
{
    std::string text = lake::to_string(sql);
    return lake::fenced(text, err, [&] {
        auto statements = lake::parse_text(duckdb::ParserOptions(), text);
        auto steps = lake::make_script(std::move(statements), text, true);
        *statements_out = steps.size();
        return OK;
    });
}
