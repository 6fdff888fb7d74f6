/* XML from outside: never more than its limits, and what was read can be walked. */
#include "aws/xml.h"

static size_t walk(const struct xml_node *node, unsigned depth)
{
    size_t count = 0;
    for (; node != NULL; node = node->next) {
        assert(depth <= 16);
        assert(node->name.len > 0 && (node->text.len == 0 || node->text.ptr != NULL));
        count += 1 + walk(node->first, depth + 1);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct xml_node *root = NULL;
    arena_init(&arena, 16 * 1024 * 1024);
    if (xml_read(str_from((const char *)data, size), &arena, &root, NULL) == OK) {
        assert(walk(root, 1) <= 50000);
        (void)xml_text(root, "Code");
    }
    arena_done(&arena);
    return 0;
}
