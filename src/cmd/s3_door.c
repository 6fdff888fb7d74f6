#include "cmd/s3_door.h"

#include <string.h>

#include "aws/keyring.h"
#include "cmd/warehouse.h"

/* S3's requests carry up to 2 KiB of metadata, and presigned ones a long target */
enum { HEADER_BYTES_MIN = 32 * 1024 };

static const char *entry(const struct parts *parts, const char *section, const char *name, size_t i)
{
    const char *text = settings_list(parts->settings, section, name, i);
    return text != NULL ? text : "";
}

static size_t rows(const struct parts *parts, const char *section, const char *name)
{
    size_t count = 0;
    while (settings_list(parts->settings, section, name, count) != NULL) {
        count++;
    }
    return count;
}

static enum status read_grants(struct parts *parts, struct aws_grant **out, size_t *count_out,
                               struct err *err)
{
    static const char KEYS[] = "s3api.keys";
    size_t count = rows(parts, KEYS, "access_key");
    struct aws_grant *grants = arena_array(&parts->arena, count + 1, sizeof(*grants));
    if (grants == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct str rights = str_of(entry(parts, KEYS, "rights", i));
        grants[i] = (struct aws_grant){ .access_key = str_of(entry(parts, KEYS, "access_key", i)),
                                        .secret_key = str_of(entry(parts, KEYS, "secret_key", i)),
                                        .write = str_eq(rights, STR("rw")),
                                        .prefix = str_of(entry(parts, KEYS, "prefix", i)) };
        if (!grants[i].write && !str_eq(rights, STR("ro"))) {
            return err_set(err, E_INVALID,
                           "s3api.keys[%zu].rights = \"%.*s\": it is \"rw\" or \"ro\"", i,
                           STR_ARG(rights));
        }
        if (grants[i].access_key.len == 0 || grants[i].secret_key.len == 0) {
            return err_set(err, E_INVALID, "s3api.keys[%zu] needs access_key and secret_key", i);
        }
    }
    *out = grants;
    *count_out = count;
    return OK;
}

static enum status read_anonymous(struct parts *parts, enum s3api_anonymous *out, struct err *err)
{
    static const char *const words[] = { [S3API_ANONYMOUS_NO] = "no",
                                         [S3API_ANONYMOUS_ACL] = "acl",
                                         [S3API_ANONYMOUS_READ] = "read" };
    const char *text = settings_str(parts->settings, "s3api", "anonymous");
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (enum s3api_anonymous)i;
            return OK;
        }
    }
    return err_set(err, E_INVALID, "s3api.anonymous = \"%s\": it is \"no\", \"acl\" or \"read\"",
                   text);
}

/** Each a store of its own, with its own locks and records. */
static enum status open_folders(struct parts *parts, struct err *err)
{
    static const char BUCKETS[] = "s3api.buckets";
    size_t count = rows(parts, BUCKETS, "name");
    parts->s3_folders = arena_array(&parts->arena, count + 1, sizeof(*parts->s3_folders));
    if (parts->s3_folders == NULL) {
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct s3api_folder *folder = &parts->s3_folders[i];
        const char *dir = entry(parts, BUCKETS, "dir", i);
        struct str access = str_of(entry(parts, BUCKETS, "access", i));
        if (dir[0] == '\0' || (!str_eq(access, STR("rw")) && !str_eq(access, STR("ro")))) {
            return err_set(err, E_INVALID,
                           "s3api.buckets[%zu] needs a dir, and its access is \"rw\" or \"ro\"", i);
        }
        folder->name = entry(parts, BUCKETS, "name", i);
        folder->read_only = str_eq(access, STR("ro"));
        struct store_fs_opts opts = { .dir = dir,
                                      .read_only = folder->read_only,
                                      .any_folder = true };
        if (store_fs_open(&opts, &folder->store, err) != OK) {
            return err_context(err, "s3api.buckets[%zu]", i);
        }
        parts->s3_folder_count++;
    }
    return OK;
}

enum status s3_door_open(struct parts *parts, const struct http_server_opts *edge, struct err *err)
{
    struct s3api_opts opts = {
        .store = parts->store,
        .region = settings_str(parts->settings, "s3api", "region"),
        .domain = settings_str(parts->settings, "s3api", "domain"),
        .object_bytes_max = settings_bytes(parts->settings, "s3api", "max_object_bytes"),
        .upload_idle_ms = settings_int(parts->settings, "s3api", "upload_idle_seconds") * 1000,
        .metrics = parts->metrics,
        .cluster_secret = str_of(parts->secret),
    };
    struct aws_grant *grants = NULL;
    TRY(read_grants(parts, &grants, &opts.grant_count, err));
    TRY(read_anonymous(parts, &opts.anonymous, err));
    if (opts.grant_count == 0 && opts.anonymous == S3API_ANONYMOUS_NO &&
        !warehouse_on_s3api(parts)) {
        return OK;
    }
    TRY(open_folders(parts, err));
    opts.grants = grants;
    opts.folders = parts->s3_folders;
    opts.folder_count = parts->s3_folder_count;
    TRY(s3api_new(&opts, &parts->s3api, err));
    struct http_server_opts server = *edge;
    s3api_edge(&server);
    server.service = "s3api";
    server.bind = settings_str(parts->settings, "s3api", "bind");
    server.header_bytes_max = server.header_bytes_max > HEADER_BYTES_MIN ? server.header_bytes_max
                                                                         : HEADER_BYTES_MIN;
    TRY(http_server_new(&server, &parts->s3_server, err));
    return s3api_mount(parts->s3api, parts->s3_server, err);
}

void s3_door_close(struct parts *parts)
{
    if (parts->s3_server != NULL) {
        http_server_stop(parts->s3_server);
        http_server_free(parts->s3_server);
    }
    s3api_free(parts->s3api);
    for (size_t i = 0; i < parts->s3_folder_count; i++) {
        store_close(parts->s3_folders[i].store);
    }
}
