/* Records come from disk: whatever the bytes, decoding them is safe, and what is taken encodes to
 * the same bytes. */
#include <string.h>

#include "store/fs_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fs_record record;
    static uint8_t bytes[FS_RECORD_BYTES_MAX];
    if (!fs_record_decode(data, size, &record)) {
        return 0;
    }
    assert(fs_record_encode(&record, bytes) == size);
    assert(memcmp(bytes, data, size) == 0);
    return 0;
}
