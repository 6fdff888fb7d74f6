/*
 * Floats as text, held to strtof.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>

#include "base/float_text.h"
#include "base/mem.h"
#include "base/rng.h"

enum { ROUNDS = 1000 * 1000, ROOM = 128 };

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/** Both ways of reading: with nothing behind the number, and with enough for the fast way. */
static void expect_strtof(const char *text)
{
    char padded[ROOM + 64];
    size_t len = strlen(text);
    float wanted = strtof(text, NULL), got = 0;
    size_t taken = float_text_read(str_of(text), &got);
    if (isinf(wanted)) {
        assert_int_equal(taken, 0);
    } else if (taken != len || bits_of(got) != bits_of(wanted)) {
        fail_msg("%s: %zu bytes, %.9g (%08x), not %.9g (%08x)", text, taken, (double)got,
                 bits_of(got), (double)wanted, bits_of(wanted));
    }
    memset(padded, ']', sizeof(padded));
    memcpy(padded, text, len);
    got = 0;
    taken = float_text_read(str_from(padded, len + 64), &got);
    if (isinf(wanted) ? taken != 0 : taken != len || bits_of(got) != bits_of(wanted)) {
        fail_msg("%s]: %zu bytes, %.9g, not %.9g", text, taken, (double)got, (double)wanted);
    }
}

static void random_digits(struct rng *rng, char *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (char)('0' + rng_below(rng, 10));
    }
    out[count] = '\0';
}

static void print_somehow(struct rng *rng, double value, char *out, size_t size)
{
    int digits = (int)rng_below(rng, 19);
    switch (rng_below(rng, 3)) {
    case 0:
        snprintf(out, size, "%.*f", digits, value);
        return;
    case 1:
        snprintf(out, size, "%.*e", digits, value);
        return;
    default:
        snprintf(out, size, "%.*g", digits, value);
    }
}

static void what_is_read_is_what_strtof_reads(void **state)
{
    struct rng rng;
    rng_seed(&rng, 42);
    for (int i = 0; i < ROUNDS; i++) {
        char text[ROOM];
        float any = float_of((uint32_t)rng_next(&rng));
        double small = (double)(int64_t)rng_next(&rng) / 9.3e18;
        double value = i % 2 == 0 && isfinite(any) ? (double)any : small;
        if (fabs(value) < 1e30) {
            print_somehow(&rng, value, text, sizeof(text));
            expect_strtof(text);
        }
        char whole[24], fraction[40];
        random_digits(&rng, whole, 1 + rng_below(&rng, 20));
        random_digits(&rng, fraction, 1 + rng_below(&rng, 30));
        whole[0] = whole[1] != '\0' && whole[0] == '0' ? '1' : whole[0];
        int exponent = (int)rng_below(&rng, 100) - 60;
        snprintf(text, sizeof(text), "%s%s.%se%d", rng_below(&rng, 2) ? "-" : "", whole, fraction,
                 exponent);
        expect_strtof(text);
        snprintf(text, sizeof(text), "%se%d", whole, exponent);
        expect_strtof(text);
    }
}

/* The middle of two floats and its neighbours, where the double must not decide. */
static void the_middle_of_two_floats_is_read_as_strtof_reads_it(void **state)
{
    struct rng rng;
    rng_seed(&rng, 7);
    for (int i = 0; i < ROUNDS / 4; i++) {
        char text[ROOM];
        uint32_t bits = 0x3f000000 + (uint32_t)rng_below(&rng, 0x08000000);
        double low = (double)float_of(bits), high = (double)float_of(bits + 1);
        double middle = (low + high) / 2;
        snprintf(text, sizeof(text), "%.40f", middle);
        expect_strtof(text);
        snprintf(text, sizeof(text), "%.17g", middle);
        expect_strtof(text);
        snprintf(text, sizeof(text), "%.16g", nextafter(middle, high));
        expect_strtof(text);
        snprintf(text, sizeof(text), "%.18g", nextafter(middle, low));
        expect_strtof(text);
    }
}

static void the_ends_of_floats_are_read(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "-0.0e5",
        "1",
        "-1",
        "10",
        "1e0",
        "1E+2",
        "1e-2",
        "0e999999",
        "16777217",
        "3.4028235e38",
        "3.4028236e38",
        "3.40282357e38",
        "1e39",
        "1e400",
        "-1e39",
        "1.1754944e-38",
        "1.17549429e-38",
        "1e-45",
        "7e-46",
        "1.4e-45",
        "1e-400",
        "0.1",
        "0.3",
        "123456789012345678",
        "0.00000000000000000000000000000000000000000000000000000001",
        "100000000000000000000000000000000000000",
        "9007199254740993",
        "0.000000001234567890123456789",
        "33554434.999999999",
        "1e-0000000001",
        "1e00000000000000002"
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        expect_strtof(texts[i]);
    }
}

static void what_is_no_number_of_json_is_refused(void **state)
{
    static const char *const texts[] = { "",    "-",   "+1",    ".5",  "1.",   "01",      "-01",
                                         "1e",  "1e+", "e5",    "NaN", "null", "--1",     "1.e5",
                                         "- 1", "Inf", "\"1\"", "0x",  "-.5",  "infinity" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char padded[ROOM];
        float value = 7;
        size_t len = strlen(texts[i]);
        bool zero = strcmp(texts[i], "0x") == 0; /* a zero, and then something */
        assert_int_equal(float_text_read(str_of(texts[i]), &value), zero ? 1 : 0);
        memset(padded, ',', sizeof(padded));
        memcpy(padded, texts[i], len);
        assert_int_equal(float_text_read(str_from(padded, sizeof(padded)), &value), zero ? 1 : 0);
    }
}

static void any_bytes_are_read_the_same_fast_and_slowly(void **state)
{
    static const char alphabet[] = "0123456789-+.eE,] \xff:/";
    struct rng rng;
    rng_seed(&rng, 3);
    for (int i = 0; i < ROUNDS; i++) {
        char text[ROOM];
        for (size_t k = 0; k < sizeof(text); k++) {
            text[k] = alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
        }
        float fast = 1, slow = 1;
        size_t taken = float_text_read(str_from(text, sizeof(text)), &fast);
        assert_true(taken < 60);
        size_t short_taken = float_text_read(str_from(text, 60), &slow);
        assert_int_equal(taken, short_taken);
        assert_int_equal(bits_of(fast), bits_of(slow));
    }
}

static void expect_back(float value)
{
    char text[FLOAT_TEXT_MAX + 1];
    size_t len = float_text_write(value, text);
    assert_in_range(len, 1, FLOAT_TEXT_MAX);
    text[len] = '\0';
    float back;
    if (float_text_read(str_from(text, len), &back) != len || bits_of(back) != bits_of(value)) {
        fail_msg("%.9g (%08x) is written %s", (double)value, bits_of(value), text);
    }
}

static void what_is_written_reads_back_as_the_same_float(void **state)
{
    struct rng rng;
    rng_seed(&rng, 11);
    for (int i = 0; i < 2 * ROUNDS; i++) {
        float value = float_of((uint32_t)rng_next(&rng));
        if (isfinite(value)) {
            expect_back(value);
        }
        expect_back((float)((double)(int64_t)rng_next(&rng) / 9.3e18));
    }
    for (uint32_t bits = 0; bits < 40; bits++) {
        expect_back(float_of(bits));
        expect_back(float_of(bits | 0x80000000));
        expect_back(float_of(0x7f7fffff - bits));
        expect_back(float_of(0x00800000 - 20 + bits));
        expect_back((float)bits);
    }
}

static void short_numbers_are_written_short(void **state)
{
    static const struct {
        float value;
        const char *text;
    } cases[] = {
        { 0, "0.0" },         { -0.0f, "-0.0" },
        { 1, "1" },           { -2.5f, "-2.5" },
        { 0.1f, "0.1" },      { 0.25f, "0.25" },
        { 1e-5f, "0.00001" }, { 1.5e-6f, "1.5e-6" },
        { 1e10f, "1e10" },    { 16777216, "16777216" },
        { 120, "120" },       { 0.012345678f, "0.012345678" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[FLOAT_TEXT_MAX + 1];
        text[float_text_write(cases[i].value, text)] = '\0';
        assert_string_equal(text, cases[i].text);
    }
}

/** A number of a vector: mostly a fraction, of any length, now and then something else. */
static size_t print_element(struct rng *rng, char *out, size_t size)
{
    double value = (double)(int64_t)rng_next(rng) / 9.3e18;
    float low = (float)fabs(value);
    switch (rng_below(rng, 16)) {
    case 0:
        return (size_t)snprintf(out, size, "%.*g", (int)rng_below(rng, 20), value * 1e6);
    case 1: /* the middle of two floats: as it is, cut, and a little more */
        return (size_t)snprintf(out, size, "%.*f", 15 + (int)rng_below(rng, 25),
                                ((double)low + (double)nextafterf(low, 2)) / 2);
    case 2:
        return (size_t)snprintf(out, size, "%.*f", 1 + (int)rng_below(rng, 30), value / 1e12);
    case 3:
        return (size_t)snprintf(out, size, "%.*e", (int)rng_below(rng, 20), value);
    case 4:
        return (size_t)snprintf(out, size, "%s0.0", value < 0 ? "-" : "");
    default:
        return (size_t)snprintf(out, size, "%.*f", 1 + (int)rng_below(rng, 22), value);
    }
}

static void a_list_is_read_as_strtof_reads_its_numbers(void **state)
{
    enum { COUNT = 100, LISTS = 20 * 1000, FRONT = 16 };
    static const char *const gaps[] = { ",", ", ", ",  ", " ,", ",\n" };
    char text[FRONT + COUNT * 48];
    struct rng rng;
    size_t fast = 0;
    rng_seed(&rng, 17);
    memset(text, '1', FRONT); /* digits in front are not the number's */
    for (int list = 0; list < LISTS; list++) {
        float wanted[COUNT], got[COUNT];
        size_t starts[COUNT + 1], len = FRONT, at = FRONT;
        const char *gap = gaps[list % 8 < 5 ? 0 : list % 8 - 4];
        for (size_t i = 0; i < COUNT; i++) {
            starts[i] = len;
            len += print_element(&rng, text + len, 44);
            wanted[i] = strtof(text + starts[i], NULL);
            const char *behind = rng_below(&rng, 50) == 0 ? gaps[rng_below(&rng, 5)] : gap;
            len += (size_t)sprintf(text + len, "%s", behind);
        }
        starts[COUNT] = len;
        for (size_t i = 0; i < COUNT; i++) {
            size_t count = float_text_read_many(str_from(text, len), &at, got + i, COUNT - i);
            for (size_t k = i; k < i + count; k++) {
                if (bits_of(got[k]) != bits_of(wanted[k])) {
                    fail_msg("%.40s: %.9g", text + starts[k], (double)got[k]);
                }
            }
            fast += count;
            i += count;
            assert_true(count == 0 || i == COUNT || at <= starts[i]);
            at = starts[i < COUNT ? i + 1 : COUNT]; /* that one goes the other way */
        }
    }
    assert_true(fast > (size_t)LISTS * COUNT / 2);
}

static void no_memory_for_a_long_number_is_no_number(void **state)
{
    char text[1000];
    float value;
    memset(text, '0', sizeof(text));
    text[1] = '.';
    mem_fail_nth(0);
    assert_int_equal(float_text_read(str_from(text, sizeof(text)), &value), 0);
    mem_fail_nth(-1);
    assert_int_equal(float_text_read(str_from(text, sizeof(text)), &value), sizeof(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_what_strtof_reads),
        cmocka_unit_test(the_middle_of_two_floats_is_read_as_strtof_reads_it),
        cmocka_unit_test(the_ends_of_floats_are_read),
        cmocka_unit_test(what_is_no_number_of_json_is_refused),
        cmocka_unit_test(any_bytes_are_read_the_same_fast_and_slowly),
        cmocka_unit_test(a_list_is_read_as_strtof_reads_its_numbers),
        cmocka_unit_test(what_is_written_reads_back_as_the_same_float),
        cmocka_unit_test(short_numbers_are_written_short),
        cmocka_unit_test(no_memory_for_a_long_number_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
