/*
 * `lake://` and `spool://` as DuckDB sees them: a file system without folders, globs or deletes
 * that asks the session's duck_files for every path.
 *
 * DuckDB would let any statement open any path below an allowed prefix, so each open goes to the
 * session of the connection that asks, and a path opened by nobody's connection is refused. Files
 * are immutable and read in any order by many threads; sinks are written from start to end by one.
 */
#include "duck/duck_priv.hpp"

#include "duckdb/common/file_opener.hpp"

using namespace duckdb;

namespace lake {

namespace {

class LakeHandle : public FileHandle {
  public:
    LakeHandle(FileSystem &fs, const string &path_p, FileOpenFlags flags_p,
               const struct duck_files &files_p)
        : FileHandle(fs, path_p, flags_p), files(files_p)
    {}
    ~LakeHandle() override
    {
        /* One that is still open belongs to a statement that has failed: nobody is left to tell. */
        (void)End(nullptr);
    }
    void Close() override
    {
        struct err err = {};
        if (End(&err) != OK) {
            throw_err(err);
        }
    }

    const struct duck_files &files;
    void *file = nullptr;
    void *sink = nullptr;
    uint64_t size = 0;
    uint64_t position = 0;

  private:
    enum status End(struct err *err)
    {
        enum status status = OK;
        if (file) {
            files.close(file);
            file = nullptr;
        }
        if (sink) {
            status = files.finish(sink, err);
            sink = nullptr;
        }
        return status;
    }
};

class LakeFileSystem : public FileSystem {
  public:
    unique_ptr<FileHandle> OpenFile(const string &path, FileOpenFlags flags,
                                    optional_ptr<FileOpener> opener) override;

    void Read(FileHandle &handle, void *buffer, int64_t nr_bytes, idx_t location) override;
    int64_t Read(FileHandle &handle, void *buffer, int64_t nr_bytes) override;
    void Write(FileHandle &handle, void *buffer, int64_t nr_bytes, idx_t location) override;
    int64_t Write(FileHandle &handle, void *buffer, int64_t nr_bytes) override;

    int64_t GetFileSize(FileHandle &handle) override
    {
        auto &ours = handle.Cast<LakeHandle>();
        return (int64_t)(ours.sink ? ours.position : ours.size);
    }
    timestamp_t GetLastModifiedTime(FileHandle &) override
    {
        return timestamp_t(0); /* they never change */
    }
    string GetVersionTag(FileHandle &) override { return string(); }
    FileType GetFileType(FileHandle &) override { return FileType::FILE_TYPE_REGULAR; }
    void FileSync(FileHandle &) override {}
    void Seek(FileHandle &handle, idx_t location) override
    {
        handle.Cast<LakeHandle>().position = location;
    }
    idx_t SeekPosition(FileHandle &handle) override { return handle.Cast<LakeHandle>().position; }
    void Reset(FileHandle &handle) override { Seek(handle, 0); }
    bool CanSeek() override { return true; }
    bool OnDiskFile(FileHandle &) override
    {
        return false; /* the Parquet reader then fetches whole column chunks, not single pages */
    }
    bool FileExists(const string &path, optional_ptr<FileOpener> opener) override;
    vector<OpenFileInfo> Glob(const string &path, FileOpener *opener) override;
    bool DirectoryExists(const string &, optional_ptr<FileOpener>) override { return false; }
    void CreateDirectory(const string &, optional_ptr<FileOpener>) override {
    } /* names of files may have slashes, that is all */
    bool IsPipe(const string &, optional_ptr<FileOpener>) override { return false; }
    bool CanHandleFile(const string &path) override
    {
        return path.rfind("lake://", 0) == 0 || path.rfind("spool://", 0) == 0;
    }
    string PathSeparator(const string &) override { return "/"; }
    string GetName() const override { return "LakeFileSystem"; }
};

shared_ptr<SessionState> session_of(optional_ptr<FileOpener> opener, const string &path)
{
    auto context = FileOpener::TryGetClientContext(opener);
    auto state = context ? SessionState::Of(*context) : nullptr;
    if (!state || !state->files) {
        throw_status(E_DENIED, "\"" + path + "\" is not one of this statement's files");
    }
    return state;
}

/** The one path of a client's answer, or one below it (COPY by partitions). */
bool is_sink(const SessionState &state, const string &path)
{
    return !state.sink.empty() &&
           (path == state.sink || path.compare(0, state.sink.size() + 1, state.sink + "/") == 0);
}

unique_ptr<FileHandle> LakeFileSystem::OpenFile(const string &path, FileOpenFlags flags,
                                                optional_ptr<FileOpener> opener)
{
    auto state = session_of(opener, path);
    const struct duck_files &files = *state->files;
    auto handle = make_uniq<LakeHandle>(*this, path, flags, files);
    struct err err = {};
    enum status status;
    if (flags.OpenForWriting()) {
        bool may = state->trusted || is_sink(*state, path);
        if (!may || !files.create) {
            throw_status(E_DENIED, "\"" + path + "\" is not written by this statement");
        }
        status = files.create(files.ctx, to_str(path), &handle->sink, &err);
    } else {
        status = files.open(files.ctx, to_str(path), &handle->file, &handle->size, &err);
    }
    if (status == E_NOT_FOUND && flags.ReturnNullIfNotExists()) {
        return nullptr;
    }
    if (status != OK) {
        throw_err(err);
    }
    return std::move(handle);
}

void LakeFileSystem::Read(FileHandle &handle, void *buffer, int64_t nr_bytes, idx_t location)
{
    auto &ours = handle.Cast<LakeHandle>();
    char *ptr = static_cast<char *>(buffer);
    uint64_t left = (uint64_t)nr_bytes;
    while (left > 0) {
        struct err err = {};
        size_t got = 0;
        if (ours.files.read_at(ours.file, location, ptr, left, &got, &err) != OK) {
            throw_err(err);
        }
        if (got == 0) {
            throw_status(E_CORRUPT, "\"" + handle.path + "\" ends before byte " +
                                        std::to_string(location + left));
        }
        ptr += got;
        location += got;
        left -= got;
    }
}

int64_t LakeFileSystem::Read(FileHandle &handle, void *buffer, int64_t nr_bytes)
{
    auto &ours = handle.Cast<LakeHandle>();
    struct err err = {};
    size_t got = 0;
    if (ours.files.read_at(ours.file, ours.position, buffer, (size_t)nr_bytes, &got, &err) != OK) {
        throw_err(err);
    }
    ours.position += got;
    return (int64_t)got;
}

void LakeFileSystem::Write(FileHandle &handle, void *buffer, int64_t nr_bytes, idx_t location)
{
    if (location != handle.Cast<LakeHandle>().position) {
        throw_status(E_UNSUPPORTED, "\"" + handle.path + "\" is written from start to end only");
    }
    Write(handle, buffer, nr_bytes);
}

int64_t LakeFileSystem::Write(FileHandle &handle, void *buffer, int64_t nr_bytes)
{
    auto &ours = handle.Cast<LakeHandle>();
    struct err err = {};
    if (!ours.sink) {
        throw_status(E_DENIED, "\"" + handle.path + "\" is not open for writing");
    }
    if (ours.files.write(ours.sink, str_from(static_cast<char *>(buffer), (size_t)nr_bytes),
                         &err) != OK) {
        throw_err(err);
    }
    ours.position += (uint64_t)nr_bytes;
    return nr_bytes;
}

/** An output does not exist before it is written; only an input that opens does. */
bool LakeFileSystem::FileExists(const string &path, optional_ptr<FileOpener> opener)
{
    auto state = session_of(opener, path);
    void *file = nullptr;
    uint64_t size = 0;
    struct err err = {};
    if (state->files->open(state->files->ctx, to_str(path), &file, &size, &err) != OK) {
        return false;
    }
    state->files->close(file);
    return true;
}

vector<OpenFileInfo> LakeFileSystem::Glob(const string &path, FileOpener *opener)
{
    vector<OpenFileInfo> found;
    if (FileExists(path, opener)) {
        found.emplace_back(path);
    }
    return found;
}

} // namespace

unique_ptr<FileSystem> make_file_system()
{
    return make_uniq<LakeFileSystem>();
}

} // namespace lake
