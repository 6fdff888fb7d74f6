/*
 * `lakehouse config`: the settings in force.
 */
#include <stdio.h>

#include "base/json.h"
#include "cmd/cmd.h"
#include "cmd/options.h"
#include "cmd/pages.h"

struct config_options {
    bool json;
};

static const struct cli_option config_options[] = { CLI_JSON(struct config_options, json) };

const struct cli_page cmd_config_page = {
    .command = "config",
    .summary = "print the settings in force, and where each comes from",
    .synopsis = "[-config FILE] [options]",
    .text = "Prints every setting with the value in force and where that comes from: default, "
            "file, environment or flag. Secrets are masked. The output is TOML: a file to begin "
            "with. The options are those of the services.",
    .options = config_options,
    .option_count = ARRAY_LEN(config_options),
    .examples = "lakehouse config\n"
                "lakehouse config -config lakehouse.toml --queryd.threads 4",
    .others = true,
};

/** The value as JSON of its type; a secret that is set as "****". */
static void config_value(struct json_writer *w, const struct settings *settings,
                         const struct setting_def *def)
{
    const char *section = def->section, *name = def->name, *item;
    switch (def->type) {
    case SETTING_INT:
        jw_i64(w, settings_int(settings, section, name));
        return;
    case SETTING_BYTES:
        jw_u64(w, settings_bytes(settings, section, name));
        return;
    case SETTING_BOOL:
        jw_bool(w, settings_bool(settings, section, name));
        return;
    case SETTING_LIST:
        jw_arr_begin(w);
        for (size_t i = 0; (item = settings_list(settings, section, name, i)) != NULL; i++) {
            jw_str(w, def->secret ? STR("****") : str_of(item));
        }
        jw_arr_end(w);
        return;
    case SETTING_STR:
        break;
    }
    item = settings_str(settings, section, name);
    jw_str(w, def->secret && item[0] != '\0' ? STR("****") : str_of(item));
}

/** `{"queryd":{"threads":{"value":4,"source":"flag"},...},...}` */
static enum status config_json(const struct settings *settings, struct buf *out)
{
    static const char *const sources[] = { [SETTING_DEFAULT] = "default",
                                           [SETTING_FILE] = "file",
                                           [SETTING_ENV] = "environment",
                                           [SETTING_FLAG] = "flag" };
    struct json_writer w;
    json_writer_init(&w, out);
    jw_obj_begin(&w);
    for (size_t i = 0; i < option_count; i++) {
        const struct setting_def *def = &option_defs[i];
        if (i == 0 || strcmp(def->section, option_defs[i - 1].section) != 0) {
            jw_kv_obj(&w, def->section);
        }
        jw_kv_obj(&w, def->name);
        jw_key(&w, STR("value"));
        config_value(&w, settings, def);
        jw_kv_cstr(&w, "source", sources[settings_source(settings, def->section, def->name)]);
        jw_obj_end(&w);
        if (i + 1 == option_count || strcmp(def->section, option_defs[i + 1].section) != 0) {
            jw_obj_end(&w);
        }
    }
    jw_obj_end(&w);
    return json_writer_end(&w) == OK ? buf_append_char(out, '\n') : E_NO_MEMORY;
}

int cmd_config(int argc, char **argv)
{
    struct err err = { 0 };
    struct settings *settings = NULL;
    struct config_options options = { 0 };
    AUTO(buf_done) struct buf out;
    buf_init(&out, 0);
    int words = argc - 1;
    enum cli_parsed parsed = cli_parse(&cmd_config_page, &options, &words, argv + 1);
    if (parsed != CLI_GO) {
        return parsed == CLI_HELP_SHOWN ? 0 : 2;
    }
    argc = words + 1;
    if (options_load(&argc, argv, &settings, &err) != OK) {
        fprintf(stderr, "lakehouse config: %s\n", err.msg);
        return 2;
    }
    if (argc > 1) {
        fprintf(stderr, "lakehouse config: unexpected \"%s\" (lakehouse config --help)\n", argv[1]);
        settings_free(settings);
        return 2;
    }
    enum status status = options.json ? config_json(settings, &out)
                                      : settings_print(settings, &out);
    settings_free(settings);
    if (status != OK) {
        fprintf(stderr, "lakehouse config: out of memory\n");
        return 1;
    }
    fwrite(out.ptr, 1, out.len, stdout);
    return 0;
}
