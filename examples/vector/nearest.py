"""liblakevec in Python, by ctypes alone: an index of vectors, searched, saved to bytes and loaded again.

    LAKEVEC=/usr/local/lib/liblakevec.so.0 python3 nearest.py
"""

import array
import ctypes
import os
import random

U32, U64, SIZE, FLOAT, PTR = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_float, ctypes.c_void_p
OUT = ctypes.byref


class Err(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("retry_after_s", ctypes.c_uint), ("msg", ctypes.c_char * 1024)]


class Opts(ctypes.Structure):
    _fields_ = [("dimension", U32), ("metric", ctypes.c_int), ("m", U32), ("ef_construction", U32), ("graph_min", U32), ("seed", U64),
                ("isa", ctypes.c_int)]


class Hit(ctypes.Structure):
    _fields_ = [("slot", U32), ("distance", FLOAT)]


class SearchOpts(ctypes.Structure):
    """Those that are not set are zero, the default; the padding leaves room for what later versions add."""

    _fields_ = [("k", U32), ("ef", U32), ("rest", ctypes.c_byte * 120)]


class ChunkInfo(ctypes.Structure):
    _fields_ = [("number", U32), ("version", U64), ("bytes", U64)]


MAP = ctypes.CFUNCTYPE(ctypes.c_int, PTR, U32, ctypes.POINTER(PTR), ctypes.POINTER(SIZE), ctypes.POINTER(Err))
RELEASE = ctypes.CFUNCTYPE(None, PTR, U32, PTR, SIZE)


class Source(ctypes.Structure):
    _fields_ = [("map", MAP), ("release", RELEASE), ("ctx", PTR)]


lib = ctypes.CDLL(os.environ.get("LAKEVEC", "liblakevec.so.0"))
for name in ("vec_free", "vec_scratch_free", "vec_snapshot_free", "vec_bytes_free"):
    getattr(lib, name).argtypes = [PTR]
    getattr(lib, name).restype = None
L2, COSINE, DOT = range(3)


def need(function, *args):
    err = Err()
    if function(*args, OUT(err)) != 0:
        raise RuntimeError(err.msg.decode())


class Index:
    def __init__(self, dimension=0, metric=L2, saved=None):
        self.pointer, self.scratch = PTR(), PTR()
        if saved is None:
            need(lib.vec_new, OUT(Opts(dimension=dimension, metric=metric)), OUT(self.pointer))
        else:
            manifest, chunks = saved
            self.buffers = {}  # what the index was loaded from is its own memory now

            @MAP
            def chunk_map(ctx, number, bytes_out, len_out, err):
                self.buffers[number] = ctypes.create_string_buffer(chunks[number], len(chunks[number]))
                bytes_out[0], len_out[0] = ctypes.addressof(self.buffers[number]), len(chunks[number])
                return 0

            @RELEASE
            def chunk_release(ctx, number, bytes_, len_):
                self.buffers.pop(number)

            self.source = Source(chunk_map, chunk_release, None)
            need(lib.vec_load, None, manifest, SIZE(len(manifest)), OUT(self.source), OUT(self.pointer))
        need(lib.vec_scratch_new, self.pointer, OUT(self.scratch))

    def close(self):
        lib.vec_scratch_free(self.scratch)
        lib.vec_free(self.pointer)

    def add(self, vector):
        slot = U32()
        need(lib.vec_add, self.pointer, (FLOAT * len(vector))(*vector), OUT(slot))
        return slot.value

    def delete(self, slot):
        need(lib.vec_delete, self.pointer, self.scratch, U32(slot))

    def maintain(self):
        left = ctypes.c_bool(True)
        while left:
            need(lib.vec_maintain, self.pointer, self.scratch, U64(10000), OUT(left))

    def search(self, vector, k=10):
        hits, found = (Hit * k)(), U32()
        need(lib.vec_search, self.pointer, self.scratch, (FLOAT * len(vector))(*vector), OUT(SearchOpts(k=k)), hits, OUT(found))
        return [(hit.slot, hit.distance) for hit in hits[:found.value]]

    def save(self):
        """The manifest and the chunks, as bytes; chunks of equal number and version need not be stored twice."""
        snapshot, manifest, size, chunks = PTR(), PTR(), SIZE(), {}
        need(lib.vec_snapshot_take, self.pointer, OUT(snapshot))
        for number in range(lib.vec_snapshot_chunks(snapshot)):
            info, content = ChunkInfo(), PTR()
            need(lib.vec_snapshot_chunk, snapshot, U32(number), OUT(info), OUT(content))
            if info.bytes:
                chunks[number] = ctypes.string_at(content, info.bytes)
        need(lib.vec_snapshot_manifest, snapshot, OUT(manifest), OUT(size))
        saved = ctypes.string_at(manifest, size.value)
        lib.vec_bytes_free(manifest)
        lib.vec_snapshot_free(snapshot)
        return saved, chunks


if __name__ == "__main__":
    rng = random.Random(1)
    vectors = [array.array("f", (rng.gauss(0, 1) for _ in range(24))) for _ in range(6000)]
    index = Index(24, COSINE)
    for vector in vectors:
        index.add(vector)
    index.maintain()
    print("nearest:", index.search(vectors[77], 3)[0][0])
    saved = index.save()
    index.delete(77)
    assert 77 not in [slot for slot, _ in index.search(vectors[77], 3)]
    index.close()
    index = Index(saved=saved)
    print("loaded:", index.search(vectors[77], 3)[0][0])
    index.close()
