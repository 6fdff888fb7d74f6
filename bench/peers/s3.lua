-- wrk: the presigned paths of the file PATHS in turn, with METHOD and a body of BYTES. Each thread takes its share.
local threads = 0

function setup(thread)
    thread:set("first", threads)
    threads = threads + 1
end

function init()
    paths = {}
    for line in io.lines(os.getenv("PATHS")) do
        paths[#paths + 1] = line
    end
    at = first
    local size = tonumber(os.getenv("BYTES"))
    method, body = os.getenv("METHOD"), size > 0 and string.rep("x", size) or nil
    ready = {} -- texts that were made before, as long as they are small: the load tool must not be what is measured
    keep = size < 65536
end

function request()
    at = at + 2 -- as many threads as bench/s3.py asks for
    local i = at % #paths + 1
    local text = ready[i] or wrk.format(method, paths[i], nil, body)
    if keep then
        ready[i] = text
    end
    return text
end
