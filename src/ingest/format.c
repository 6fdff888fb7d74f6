/*
 * What a file is: by what its sender says of it, and by its first bytes.
 */
#include "ingest/ingest.h"

struct naming {
    const char *text;
    enum ingest_format format;
};

static enum ingest_format look_up(const struct naming *table, size_t count, struct str text)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq_nocase(text, str_of(table[i].text))) {
            return table[i].format;
        }
    }
    return INGEST_GUESS;
}

static enum ingest_format by_name(struct str name)
{
    static const struct naming names[] = {
        { "csv", INGEST_CSV },         { "tsv", INGEST_TSV },       { "tab", INGEST_TSV },
        { "json", INGEST_JSON },       { "ndjson", INGEST_NDJSON }, { "jsonl", INGEST_NDJSON },
        { "parquet", INGEST_PARQUET }, { "pq", INGEST_PARQUET },
    };
    return look_up(names, ARRAY_LEN(names), name);
}

static enum ingest_format by_content_type(struct str type)
{
    static const struct naming types[] = {
        { "text/csv", INGEST_CSV },
        { "application/csv", INGEST_CSV },
        { "text/tab-separated-values", INGEST_TSV },
        { "application/json", INGEST_JSON },
        { "application/x-ndjson", INGEST_NDJSON },
        { "application/ndjson", INGEST_NDJSON },
        { "application/jsonl", INGEST_NDJSON },
        { "application/vnd.apache.parquet", INGEST_PARQUET },
        { "application/x-parquet", INGEST_PARQUET },
    };
    return look_up(types, ARRAY_LEN(types), str_trim(str_split(&type, ';')));
}

/** The part behind the last dot; empty when there is none. */
static struct str ending(struct str file_name)
{
    size_t dot = str_rfind_char(file_name, '.');
    return dot == SIZE_MAX ? STR_EMPTY : str_skip(file_name, dot + 1);
}

enum inflate_kind ingest_packing_of(struct str file_name)
{
    struct str end = ending(file_name);
    return str_eq_nocase(end, STR("gz"))                                       ? INFLATE_GZIP
           : str_eq_nocase(end, STR("zst")) || str_eq_nocase(end, STR("zstd")) ? INFLATE_ZSTD
                                                                               : INFLATE_NONE;
}

enum ingest_format ingest_format_of(struct str name, struct str content_type, struct str file_name)
{
    enum ingest_format format = by_name(name);
    if (format == INGEST_GUESS) {
        format = by_content_type(content_type);
    }
    if (format == INGEST_GUESS) {
        struct str end = ending(file_name);
        bool packed = ingest_packing_of(file_name) != INFLATE_NONE;
        format = by_name(packed ? ending(str_take(file_name, file_name.len - end.len - 1)) : end);
    }
    return format;
}

enum ingest_format ingest_format_of_bytes(struct str head)
{
    if (str_starts(head, STR("PAR1"))) {
        return INGEST_PARQUET;
    }
    struct str text = str_trim(str_starts(head, STR("\xef\xbb\xbf")) ? str_skip(head, 3) : head);
    char first = text.len > 0 ? text.ptr[0] : '\0';
    return first == '[' ? INGEST_JSON : first == '{' ? INGEST_NDJSON : INGEST_CSV;
}
