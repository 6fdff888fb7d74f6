/*
 * A statement from its text to chunks: parse, guard, bind with parameters, start, fetch.
 *
 * Every session is a connection of its own. A result streams: DuckDB's threads run ahead by a
 * bounded buffer only, and the rest is computed as it is taken. Interrupts may come at any moment:
 * DuckDB forgets one that comes before it has begun, so a flag of our own is looked at as well.
 */
#include "duck/duck_priv.hpp"
#include "duck/script.hpp"

#include "duckdb/common/progress_bar/progress_bar.hpp"
#include "duckdb/execution/executor.hpp"
#include "duckdb/main/client_config.hpp"
#include "duckdb/main/connection.hpp"
#include "duckdb/main/pending_query_result.hpp"
#include "duckdb/main/stream_query_result.hpp"
#include "duckdb/parallel/task_scheduler.hpp"
#include "duckdb/parser/keyword_helper.hpp"
#include "duckdb/parser/sql_statement.hpp"

#include <chrono>
#include <thread>

using namespace duckdb;

namespace lake {

shared_ptr<SessionState> SessionState::Of(ClientContext &context)
{
    return context.registered_state->Get<SessionState>(KEY);
}

namespace {

void check_canceled(struct duck_session &session)
{
    if (session.canceled.load(std::memory_order_acquire)) {
        throw_status(E_CANCELED, "the statement was canceled");
    }
}

/**
 * Takes an executor's error before it goes away. When one of its threads fails, DuckDB interrupts
 * the others; if the one that fetches is outside at that moment, it comes back with "interrupted"
 * as the result's error and ends the executor, which alone knew the reason. The display of the
 * progress bar is what DuckDB lets us hang on an executor: made with it, ended just before it.
 */
class Witness : public ProgressBarDisplay {
  public:
    Witness(SessionState &owner, Executor &watched) : state(owner), executor(watched) {}
    ~Witness() override
    {
        try {
            if (executor.HasError()) {
                state.first_error = executor.GetError();
            }
        } catch (...) { /* out of memory: the error stays as DuckDB tells it */
            state.first_error = ErrorData();
        }
    }
    void Update(double) override {}
    void Finish() override {}

  private:
    SessionState &state;
    Executor &executor;
};

[[noreturn]] void throw_result_error(struct duck_session &session, BaseQueryResult &result)
{
    auto &error = result.GetErrorObject();
    if (error.Type() == ExceptionType::INTERRUPT && session.state->first_error.HasError() &&
        !session.canceled.load(std::memory_order_acquire)) {
        session.state->first_error.Throw();
    }
    if (!error.RawMessage().empty() && error.RawMessage()[0] == '{') {
        ErrorData(error.RawMessage()).Throw();
    }
    error.Throw();
}

/* chosen, not measured: short tasks of other threads end while we yield */
constexpr int YIELDS_MAX = 64;
constexpr int NAP_US = 50;

/**
 * Work on a statement until its first rows are there. While other threads have all of its tasks,
 * DuckDB's own Execute() asks for one again and again; that takes the processor from those threads
 * and from the server, so after a while we sleep between two questions.
 */
void work(PendingQueryResult &pending)
{
    int idle = 0;
    for (;;) {
        auto state = pending.ExecuteTask();
        if (PendingQueryResult::IsResultReady(state)) {
            return;
        }
        if (state == PendingExecutionResult::BLOCKED) {
            pending.WaitForTask();
        } else if (state != PendingExecutionResult::NO_TASKS_AVAILABLE) {
            idle = 0;
        } else if (++idle <= YIELDS_MAX) {
            std::this_thread::yield();
        } else {
            std::this_thread::sleep_for(std::chrono::microseconds(NAP_US));
        }
    }
}

} // namespace

unique_ptr<QueryResult> start(struct duck_session &session, unique_ptr<SQLStatement> statement,
                              Params params)
{
    check_canceled(session);
    session.state->first_error = ErrorData();
    auto &context = *session.connection->context;
    auto pending = context.PendingQuery(std::move(statement), params,
                                        QueryParameters(QueryResultOutputType::ALLOW_STREAMING));
    if (pending->HasError()) {
        throw_result_error(session, *pending);
    }
    if (session.canceled.load(std::memory_order_acquire)) {
        session.connection->Interrupt();
    }
    work(*pending);
    if (pending->HasError()) {
        throw_result_error(session, *pending);
    }
    auto result = pending->Execute();
    if (result->HasError()) {
        throw_result_error(session, *result);
    }
    return result;
}

namespace {

/** NULL at the end. */
unique_ptr<DataChunk> next_chunk(struct duck_session &session, QueryResult &result)
{
    check_canceled(session);
    auto chunk = result.FetchRaw();
    if (result.HasError()) {
        throw_result_error(session, result);
    }
    if (!chunk || chunk->size() == 0) {
        return nullptr;
    }
    return chunk;
}

} // namespace

void check_used(const case_insensitive_map_t<idx_t> &used, const Params &params)
{
    for (auto &param : params) {
        if (used.count(param.first) == 0) {
            throw_refusal(optional_idx(), "params has a value for $" + param.first +
                                              ", but the statement does not use it");
        }
    }
}

namespace {

void check_all_used(const std::vector<Step> &steps, const Params &params)
{
    case_insensitive_map_t<idx_t> used;
    for (auto &step : steps) {
        used.insert(step.statement->named_param_map.begin(), step.statement->named_param_map.end());
    }
    check_used(used, params);
}

/** Runs what gives a PIVOT its columns. */
void find_values(struct duck_session &session, PivotValues &values)
{
    auto result = start(session, std::move(values.query), Params());
    while (auto chunk = next_chunk(session, *result)) {
        for (idx_t row = 0; row < chunk->size(); row++) {
            values.Add(chunk->GetValue(0, row));
        }
    }
    values.known = true;
}

unique_ptr<QueryResult> run_step(struct duck_session &session, Step &step, const Params &params,
                                 bool is_last)
{
    Params own = params_for(*step.statement, params);
    for (auto &values : step.values) {
        find_values(session, values);
        step.Fill();
    }
    if (!session.state->sink.empty() && is_last) {
        step.statement = copy_to_parquet(*session.connection->context, std::move(step.statement),
                                         own, session.state->sink);
    }
    return start(session, std::move(step.statement), std::move(own));
}

Statements take_parsed(struct duck_session &session, const string &sql)
{
    Statements statements = std::move(session.parsed);
    session.parsed.clear();
    return !statements.empty() && session.parsed_sql == sql
               ? std::move(statements)
               : parse_text(session.connection->context->GetParserOptions(), sql);
}

unique_ptr<QueryResult> run_script(struct duck_session &session, const string &sql,
                                   struct str params_json)
{
    auto steps = make_script(take_parsed(session, sql), sql, !session.state->trusted);
    Params params = parse_params(params_json);
    check_all_used(steps, params);
    for (idx_t i = 0; i + 1 < steps.size(); i++) {
        auto result = run_step(session, steps[i], params, false);
        while (next_chunk(session, *result)) {
        }
    }
    return run_step(session, steps.back(), params, true);
}

void open_session(struct duck_session &session, const struct duck_session_opts &opts)
{
    session.connection = make_uniq<Connection>(*session.duck->db);
    session.state = make_shared_ptr<SessionState>();
    session.state->tables = opts.lake;
    session.state->files = opts.files;
    session.state->vectors = opts.vectors;
    session.state->trusted = opts.trusted;
    auto &context = *session.connection->context;
    context.registered_state->Insert(SessionState::KEY, session.state);
    /* The progress is computed only where a bar could be shown; ours shows nothing. */
    context.config.enable_progress_bar = true;
    context.config.print_progress_bar = true;
    auto &state = *session.state;
    context.config.display_create_func = [&context, &state] {
        return make_uniq_base<ProgressBarDisplay, Witness>(state, context.GetExecutor());
    };
    context.config.wait_time = 0;
    /* FROM 'x.csv' would look for a file. */
    context.config.use_replacement_scans = false;
}

} // namespace

unique_ptr<DataChunk> fetch(struct duck_result &result)
{
    return next_chunk(*result.session, *result.result);
}

} // namespace lake

using lake::fenced;

enum status duck_session_open(struct duck *duck, const struct duck_session_opts *opts,
                              struct duck_session **out, struct err *err)
{
    struct duck_session *session = nullptr;
    enum status status = fenced(std::string(), err, [&] {
        session = new struct duck_session();
        session->duck = duck;
        lake::open_session(*session, *opts);
        return OK;
    });
    if (status != OK) {
        duck_session_close(session);
        return status;
    }
    *out = session;
    return OK;
}

void duck_session_close(struct duck_session *session)
{
    if (!session) {
        return;
    }
    struct err ignored;
    (void)fenced(std::string(), &ignored, [&] {
        delete session;
        return OK;
    });
}

void duck_session_interrupt(struct duck_session *session)
{
    session->canceled.store(true, std::memory_order_release);
    session->connection->Interrupt();
}

void duck_session_progress(struct duck_session *session, double *percent_out, uint64_t *rows_out)
{
    auto progress = session->connection->context->GetQueryProgress();
    *percent_out = progress.GetPercentage();
    *rows_out = progress.GetRowsProcesseed();
}

enum status duck_query(struct duck_session *session, struct str sql, struct str params,
                       struct duck_result **out, struct err *err)
{
    struct duck_result *result = nullptr;
    std::string text = lake::to_string(sql);
    /* A place in our own SQL says nothing to the user who reads the error. */
    std::string shown = session->state->trusted ? std::string() : text;
    enum status status = fenced(shown, err, [&] {
        result = new struct duck_result();
        result->session = session;
        result->sql = shown;
        result->result = lake::run_script(*session, text, params);
        result->names = result->result->names;
        result->types = result->result->types;
        for (auto &type : result->types) {
            result->type_names.push_back(type.ToString());
        }
        return OK;
    });
    if (status != OK) {
        duck_result_free(result);
        return status;
    }
    *out = result;
    return OK;
}

enum status duck_query_to_parquet(struct duck_session *session, struct str sql, struct str params,
                                  struct str path, uint64_t *rows_out, struct err *err)
{
    struct duck_result *result = nullptr;
    session->state->sink = lake::to_string(path);
    TRY(duck_query(session, sql, params, &result, err));
    enum status status = fenced(result->sql, err, [&] {
        auto chunk = lake::fetch(*result);
        *rows_out = chunk ? chunk->GetValue(0, 0).GetValue<uint64_t>() : 0;
        return OK;
    });
    duck_result_free(result);
    return status;
}

void duck_result_free(struct duck_result *result)
{
    if (!result) {
        return;
    }
    struct err ignored;
    (void)fenced(std::string(), &ignored, [&] {
        delete result;
        return OK;
    });
}

size_t duck_result_column_count(const struct duck_result *result)
{
    return result->names.size();
}

struct str duck_result_column_name(const struct duck_result *result, size_t i)
{
    return lake::to_str(result->names[i]);
}

struct str duck_result_column_type(const struct duck_result *result, size_t i)
{
    return lake::to_str(result->type_names[i]);
}

namespace {

typedef enum status row_callback(void *ctx, const struct str *cells, size_t count, struct err *err);

enum status visit_rows(struct duck_result &result, row_callback *row, void *ctx, struct err *err)
{
    std::vector<std::string> texts(result.names.size());
    std::vector<struct str> cells(result.names.size());
    while (auto chunk = lake::fetch(result)) {
        for (idx_t r = 0; r < chunk->size(); r++) {
            for (idx_t c = 0; c < chunk->ColumnCount(); c++) {
                Value value = chunk->GetValue(c, r);
                cells[c] = str_from(nullptr, 0);
                if (!value.IsNull()) {
                    texts[c] = value.ToString();
                    cells[c] = lake::to_str(texts[c]);
                }
            }
            TRY(row(ctx, cells.data(), cells.size(), err));
        }
    }
    return OK;
}

} // namespace

enum status duck_rows(struct duck_session *session, struct str sql, row_callback *row, void *ctx,
                      struct err *err)
{
    struct duck_result *result = nullptr;
    TRY(duck_query(session, sql, str_from(nullptr, 0), &result, err));
    enum status status = fenced(result->sql, err,
                                [&] { return visit_rows(*result, row, ctx, err); });
    duck_result_free(result);
    return status;
}

enum status duck_exec(struct duck_session *session, struct str sql, struct err *err)
{
    struct duck_result *result = nullptr;
    TRY(duck_query(session, sql, str_from(nullptr, 0), &result, err));
    enum status status = fenced(result->sql, err, [&] {
        while (lake::fetch(*result)) {
        }
        return OK;
    });
    duck_result_free(result);
    return status;
}

namespace {

enum status quote(struct buf *out, struct str text, char mark)
{
    size_t before = out->len;
    enum status status = buf_append_char(out, mark);
    for (size_t i = 0; i < text.len && status == OK; i++) {
        if (text.ptr[i] == mark) {
            status = buf_append_char(out, mark);
        }
        if (status == OK) {
            status = buf_append_char(out, text.ptr[i]);
        }
    }
    if (status == OK) {
        status = buf_append_char(out, mark);
    }
    if (status != OK) {
        out->len = before;
    }
    return status;
}

} // namespace

enum status duck_quote_ident(struct buf *out, struct str name)
{
    return quote(out, name, '"');
}

enum status duck_quote_text(struct buf *out, struct str text)
{
    return quote(out, text, '\'');
}

enum status duck_session_threads(struct duck_session *session, unsigned threads, struct err *err)
{
    return lake::fenced(std::string(), err, [&] {
        auto &scheduler = TaskScheduler::GetScheduler(*session->connection->context);
        scheduler.SetThreads(threads ? threads : session->duck->threads, 1);
        scheduler.RelaunchThreads();
        return OK;
    });
}
