/* From settings to a store. */
#include "cmd/backend.h"

#include "store/cache.h"

static const char *text(const struct settings *settings, const char *section, const char *name)
{
    return settings_str(settings, section, name);
}

enum status backend_is_s3(const struct settings *settings, bool *out, struct err *err)
{
    struct str backend = str_of(text(settings, "storaged", "backend"));
    *out = str_eq(backend, STR("s3"));
    if (!*out && !str_eq(backend, STR("fs"))) {
        return err_set(err, E_INVALID, "storaged.backend = \"%.*s\": it is \"fs\" or \"s3\"",
                       STR_ARG(backend));
    }
    return OK;
}

static enum status open_s3(const struct settings *settings, bool read_only, struct store **out,
                           struct err *err)
{
    struct str addressing = str_of(text(settings, "s3", "addressing"));
    bool virtual_host = str_eq(addressing, STR("virtual"));
    if (!virtual_host && !str_eq(addressing, STR("path"))) {
        return err_set(err, E_INVALID, "s3.addressing = \"%.*s\": it is \"path\" or \"virtual\"",
                       STR_ARG(addressing));
    }
    struct store_s3_opts opts = {
        .endpoint = text(settings, "s3", "endpoint"),
        .bucket = text(settings, "s3", "bucket"),
        .prefix = text(settings, "s3", "prefix"),
        .region = text(settings, "s3", "region"),
        .access_key = str_of(text(settings, "s3", "access_key")),
        .secret_key = str_of(text(settings, "s3", "secret_key")),
        .session_token = str_of(text(settings, "s3", "session_token")),
        .profile = text(settings, "s3", "profile"),
        .ca_file = text(settings, "s3", "ca_file"),
        .virtual_host = virtual_host,
        .read_only = read_only,
        .retry_ms = settings_int(settings, "s3", "retry_seconds") * 1000,
        .single_writer = settings_bool(settings, "s3", "single_writer"),
        .lease_ms = settings_int(settings, "s3", "lease_seconds") * 1000,
    };
    uint64_t memory = settings_bytes(settings, "s3", "cache_memory");
    struct store *bucket = NULL;
    if (memory == 0 && text(settings, "s3", "cache_dir")[0] != '\0') {
        return err_set(err, E_INVALID, "s3.cache_dir needs s3.cache_memory: it is behind it");
    }
    TRY(store_s3_open(&opts, &bucket, err));
    if (read_only || memory == 0) { /* the doctor wants what is really there */
        *out = bucket;
        return OK;
    }
    return store_cache_open(
        bucket,
        &(struct store_cache_opts){ .memory_bytes = memory,
                                    .dir = text(settings, "s3", "cache_dir"),
                                    .disk_bytes = settings_bytes(settings, "s3", "cache_disk") },
        out, err);
}

enum status backend_open(const struct settings *settings, bool read_only, struct store **out,
                         struct err *err)
{
    bool s3 = false;
    TRY(backend_is_s3(settings, &s3, err));
    if (s3) {
        return open_s3(settings, read_only, out, err);
    }
    return store_fs_open(
        &(struct store_fs_opts){ .dir = text(settings, "storaged", "dir"), .read_only = read_only },
        out, err);
}
