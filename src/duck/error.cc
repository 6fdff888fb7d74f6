/*
 * Errors across DuckDB, both ways.
 *
 * What our callbacks report (a table that is ambiguous, a file that is damaged) travels through
 * DuckDB as one of its exceptions with our kind in its extra info, and comes out as the status that
 * it was. What DuckDB itself reports is sorted into our kinds by its exception type, and loses its
 * decoration: `LINE 1: ... ^` becomes "line 1, column 15: " in front.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/common/exception.hpp"
#include "duckdb/common/string_util.hpp"

#include <cerrno>
#include <cstring>

using namespace duckdb;

namespace lake {

namespace {

const char *const KIND_KEY = "lakehouse_kind";

enum status kind_of_type(ExceptionType type)
{
    switch (type) {
    case ExceptionType::OUT_OF_MEMORY:
        return E_NO_MEMORY;
    case ExceptionType::INTERRUPT:
        return E_CANCELED;
    case ExceptionType::PERMISSION:
        return E_DENIED;
    case ExceptionType::INTERNAL:
    case ExceptionType::FATAL:
    case ExceptionType::IO:
    case ExceptionType::HTTP:
    case ExceptionType::SERIALIZATION:
    case ExceptionType::NULL_POINTER:
    case ExceptionType::SETTINGS:
    case ExceptionType::CONNECTION:
        return E_INTERNAL;
    default:
        return E_INVALID;
    }
}

enum status kind_of(const ErrorData &error)
{
    auto &info = error.ExtraInfo();
    auto ours = info.find(KIND_KEY);
    if (ours != info.end()) {
        return status_from_name(ours->second.c_str());
    }
    auto subtype = info.find("error_subtype");
    auto type = info.find("type");
    if (error.Type() == ExceptionType::CATALOG && subtype != info.end() &&
        subtype->second == "MISSING_ENTRY" && type != info.end() &&
        StringUtil::CIEquals(type->second, "table")) {
        return E_NOT_FOUND;
    }
    auto number = info.find("errno");
    if (error.Type() == ExceptionType::IO && number != info.end() &&
        (number->second == std::to_string(ENOSPC) || number->second == std::to_string(EDQUOT))) {
        return E_DISK_FULL;
    }
    return kind_of_type(error.Type());
}

void drop_trailing(string &text)
{
    while (!text.empty() && strchr(" .!", text.back())) {
        text.pop_back();
    }
}

/** "Table with" -> "table with", but "INSERT is" and `"a" is` stay. */
void lower_first(string &text, idx_t at)
{
    if (at + 1 < text.size() && isupper((unsigned char)text[at]) &&
        islower((unsigned char)text[at + 1])) {
        text[at] = (char)tolower((unsigned char)text[at]);
    }
}

/** One line, without DuckDB's pointers into the statement, its stack traces, and its advice about
 * settings that are not the reader's. */
string plain_message(const string &raw)
{
    string text = raw;
    for (auto tail : { "\n\nLINE ", "\n\nStack Trace", "\n\nPossible solutions:",
                       "\n\nPlease try installing", " Use \"SET ", " Use SET ", "\n* SET " }) {
        text = text.substr(0, text.find(tail));
    }
    string out;
    for (auto &line : StringUtil::Split(text, '\n')) {
        StringUtil::Trim(line);
        /* the bad row of a CSV itself may be longer than all that a message can hold */
        if (line.empty() || StringUtil::StartsWith(line, "Original Line: ")) {
            continue;
        }
        if (!out.empty()) {
            drop_trailing(out);
            out += out.back() == ':' ? " " : "; ";
        }
        idx_t start = out.size();
        out += line;
        lower_first(out, start);
    }
    drop_trailing(out);
    return out;
}

/** "line 2, column 7: " of a byte offset; columns count characters from 1. */
string position_text(const string &sql, const ErrorData &error)
{
    auto entry = error.ExtraInfo().find("position");
    uint64_t offset = 0;
    if (entry == error.ExtraInfo().end() || sql.empty() ||
        !str_to_u64(to_str(entry->second), &offset) || offset > sql.size()) {
        return string();
    }
    idx_t line = 1;
    idx_t column = 1;
    for (idx_t i = 0; i < offset; i++) {
        if (sql[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)sql[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return "line " + std::to_string(line) + ", column " + std::to_string(column) + ": ";
}

} // namespace

namespace {

[[noreturn]] void throw_kind(enum status kind, ExceptionType type, const string &message,
                             optional_idx position)
{
    unordered_map<string, string> info;
    info[KIND_KEY] = status_name(kind);
    if (position.IsValid()) {
        info["position"] = std::to_string(position.GetIndex());
    }
    throw Exception(info, type, message);
}

} // namespace

void throw_status(enum status kind, const string &message, optional_idx position)
{
    throw_kind(kind, kind == E_CANCELED ? ExceptionType::INTERRUPT : ExceptionType::IO, message,
               position);
}

void throw_err(const struct err &err, optional_idx position)
{
    bool written = err.kind != OK;
    throw_status(written ? err.kind : E_INTERNAL, written ? err.msg : "unknown error", position);
}

void throw_refusal(optional_idx position, const string &message)
{
    throw_kind(E_INVALID, ExceptionType::PERMISSION, message, position);
}

enum status error_out(const ErrorData &error, const string &sql, struct err *err)
{
    /* With errors_as_json, what a result carries is JSON text that still has the position. */
    if (!error.RawMessage().empty() && error.RawMessage()[0] == '{') {
        return error_out(ErrorData(error.RawMessage()), sql, err);
    }
    enum status kind = kind_of(error);
    if (kind == E_CANCELED) {
        return err_set(err, E_CANCELED, "the statement was canceled");
    }
    string message = plain_message(error.RawMessage());
    if (kind == E_NO_MEMORY) {
        message = "not enough memory for this statement: " + message;
    }
    return err_set(err, kind, "%s%s", position_text(sql, error).c_str(), message.c_str());
}

} // namespace lake
