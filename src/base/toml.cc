/*
 * TOML by toml++, flattened into items.
 *
 * toml++ keeps tables sorted by key. Items are collected first and sorted by line, so that an
 * error is about the first wrong line, and elements of arrays of tables come in their order.
 * The visitor is C and does not throw; everything that toml++ or the standard library throws is
 * caught in toml_walk.
 */
#include "base/toml.h"

#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

[[noreturn]] void not_as_expected()
{
    throw std::logic_error("not TOML");
}

} // namespace

/* The library asserts what its own parser does not make sure of: `[&x]` would end the program. */
#define TOML_ASSERT(expr) ((expr) ? void() : not_as_expected())
#include <toml++/toml.h>

namespace {

struct item {
    std::string section;
    std::string name;
    std::string text;
    std::vector<std::string> strings;
    enum toml_kind kind = TOML_TABLE;
    bool in_array = false;
    unsigned line = 0;
};

using items = std::vector<item>;

void collect_table(const toml::table &table, const std::string &section, bool in_array, items &out);

std::string join(const std::string &section, std::string_view name)
{
    return section.empty() ? std::string(name) : section + "." + std::string(name);
}

bool is_table_array(const toml::array &array)
{
    return !array.empty() && array.is_homogeneous(toml::node_type::table);
}

void fill_array(const toml::array &array, item &out)
{
    out.kind = TOML_STRINGS;
    for (const toml::node &element : array) {
        const auto *text = element.as_string();
        if (text == nullptr) {
            out.kind = TOML_OTHER_ARRAY;
            return;
        }
        out.strings.push_back(text->get());
    }
}

void fill_value(const toml::node &node, item &out)
{
    if (const auto *text = node.as_string()) {
        out.kind = TOML_STRING;
        out.text = text->get();
    } else if (const auto *number = node.as_integer()) {
        out.kind = TOML_SCALAR;
        out.text = std::to_string(number->get());
    } else if (const auto *flag = node.as_boolean()) {
        out.kind = TOML_SCALAR;
        out.text = flag->get() ? "true" : "false";
    } else if (const auto *array = node.as_array()) {
        fill_array(*array, out);
    } else {
        out.kind = node.is_floating_point() ? TOML_FRACTION : TOML_DATE;
    }
}

item table_item(const std::string &section, bool in_array, const toml::node &node)
{
    item out;
    out.section = section;
    out.in_array = in_array;
    out.line = node.source().begin.line;
    return out;
}

void collect_node(const std::string &section, const toml::key &key, const toml::node &node,
                  bool in_array, items &out)
{
    const toml::array *array = node.as_array();
    if (node.is_table()) {
        collect_table(*node.as_table(), join(section, key.str()), false, out);
    } else if (array != nullptr && is_table_array(*array)) {
        std::string name = join(section, key.str());
        for (const toml::node &element : *array) {
            out.push_back(table_item(name, true, element));
            collect_table(*element.as_table(), name, true, out);
        }
    } else {
        item value;
        value.section = section;
        value.name = key.str();
        value.in_array = in_array;
        value.line = key.source().begin.line;
        fill_value(node, value);
        out.push_back(std::move(value));
    }
}

void collect_table(const toml::table &table, const std::string &section, bool in_array, items &out)
{
    if (table.empty() && !in_array && !section.empty()) {
        out.push_back(table_item(section, false, table));
    }
    for (auto &&[key, node] : table) {
        collect_node(section, key, node, in_array, out);
    }
}

enum status visit_item(const item &from, toml_visit *visit, void *ctx, struct err *err)
{
    std::vector<struct str> strings;
    strings.reserve(from.strings.size());
    for (const std::string &text : from.strings) {
        strings.push_back(str_from(text.data(), text.size()));
    }
    struct toml_item out = {};
    out.section = from.section.c_str();
    out.name = from.kind == TOML_TABLE ? nullptr : from.name.c_str();
    out.kind = from.kind;
    out.in_array = from.in_array;
    out.line = from.line;
    out.text = str_from(from.text.data(), from.text.size());
    out.strings = strings.data();
    out.string_count = strings.size();
    return visit(ctx, &out, err);
}

enum status walk(struct str text, const char *path, toml_visit *visit, void *ctx, struct err *err)
{
    std::string_view bytes(text.ptr != nullptr ? text.ptr : "", text.len);
    toml::table root = toml::parse(bytes, std::string_view(path));
    items all;
    collect_table(root, "", false, all);
    std::stable_sort(all.begin(), all.end(),
                     [](const item &a, const item &b) { return a.line < b.line; });
    for (const item &one : all) {
        enum status status = visit_item(one, visit, ctx, err);
        if (status != OK) {
            return status;
        }
    }
    return OK;
}

/** TOML is UTF-8 without control characters but tab and line end, and the library does not survive
 * everything else: it asserts, or runs into what it calls unreachable. */
enum status refuse_odd_bytes(struct str text, const char *path, struct err *err)
{
    struct str rest = text;
    for (unsigned line = 1; rest.ptr != nullptr; line++) {
        struct str bytes = str_split(&rest, '\n');
        if (!str_is_utf8(bytes)) {
            return err_set(err, E_INVALID, "%s:%u: not valid UTF-8", path, line);
        }
        for (size_t i = 0; i < bytes.len; i++) {
            unsigned char c = static_cast<unsigned char>(bytes.ptr[i]);
            if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7f) {
                return err_set(err, E_INVALID, "%s:%u: a control character (0x%02x)", path, line,
                               c);
            }
        }
    }
    return OK;
}

/** How many bytes the quote at the start of text has: 3 for one of a text over several lines. */
size_t quote_width(struct str text)
{
    bool triple = text.len >= 3 && text.ptr[1] == text.ptr[0] && text.ptr[2] == text.ptr[0];
    return triple ? 3 : 1;
}

/** Steps over a quoted text, from its first quote; a text that is not closed ends at its line, one
 * over several lines with the file. */
struct str skip_quoted(struct str text)
{
    size_t width = quote_width(text);
    char quote = text.ptr[0];
    text = str_skip(text, width);
    while (text.len > 0 && (width == 3 || text.ptr[0] != '\n')) {
        if (text.ptr[0] == quote && quote_width(text) >= width) {
            return str_skip(text, width);
        }
        bool escaped = quote == '"' && text.ptr[0] == '\\' && text.len > 1;
        text = str_skip(text, escaped ? 2 : 1);
    }
    return text;
}

/** Bare names and values are ASCII. The library looks other letters up in tables of its own and
 * runs off their end, so they do not reach it; in quotes and comments they may stand. */
enum status refuse_odd_letters(struct str text, const char *path, struct err *err)
{
    struct str rest = text;
    while (rest.len > 0) {
        char c = rest.ptr[0];
        if (c == '"' || c == '\'') {
            rest = skip_quoted(rest);
            continue;
        }
        if (c == '#') {
            (void)str_split(&rest, '\n');
            continue;
        }
        if (static_cast<unsigned char>(c) >= 0x80) {
            auto line = 1 + std::count(text.ptr, rest.ptr, '\n');
            return err_set(err, E_INVALID,
                           "%s:%ld: a name with other letters than a-z needs quotes", path,
                           static_cast<long>(line));
        }
        rest = str_skip(rest, 1);
    }
    return OK;
}

/** Where the library's parser stumbles: the first [header] whose name starts with a character that
 * none can start with. */
unsigned odd_header_line(struct str text)
{
    struct str rest = text;
    for (unsigned line = 1; rest.ptr != nullptr; line++) {
        struct str at = str_trim(str_split(&rest, '\n'));
        bool header = at.len > 0 && at.ptr[0] == '[';
        while (at.len > 0 && (at.ptr[0] == '[' || at.ptr[0] == ' ' || at.ptr[0] == '\t')) {
            at = str_skip(at, 1);
        }
        char c = at.len > 0 ? at.ptr[0] : ']';
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-' || c == '"' || c == '\'' || c == ']';
        if (header && !fine) {
            return line;
        }
    }
    return 1;
}

} // namespace

enum status toml_walk(struct str text, const char *path, toml_visit *visit, void *ctx,
                      struct err *err)
{
    enum status clean = refuse_odd_bytes(text, path, err);
    if (clean == OK) {
        clean = refuse_odd_letters(text, path, err);
    }
    if (clean != OK) {
        return clean;
    }
    try {
        return walk(text, path, visit, ctx, err);
    } catch (const toml::parse_error &fault) {
        std::string_view what = fault.description();
        return err_set(err, E_INVALID, "%s:%u: %.*s", path, (unsigned)fault.source().begin.line,
                       (int)what.size(), what.data());
    } catch (const std::logic_error &) {
        return err_set(err, E_INVALID, "%s:%u: a name cannot start like this", path,
                       odd_header_line(text));
    } catch (const std::bad_alloc &) {
        return err_no_memory(err);
    } catch (const std::exception &fault) {
        return err_set(err, E_INTERNAL, "cannot read \"%s\": %s", path, fault.what());
    }
}
