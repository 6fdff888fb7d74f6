# base/status.h and vector/lakevec.h -> lakevec.h that needs neither: of the first the kinds of errors and
# struct err; and names that others may have as well get a prefix.
#
# A file is told by its order, so that this does not depend on where they are.

function public(line) {
    gsub(/enum status/, "enum vec_status", line)
    gsub(/struct err/, "struct vec_err", line)
    gsub(/MUST_USE/, "VEC_MUST_USE", line)
    gsub(/ERR_MESSAGE_MAX/, "VEC_ERR_MESSAGE_MAX", line)
    line = gensub_word(line, "OK", "VEC_OK")
    while (match(line, /(^|[^A-Za-z_])E_[A-Z]/)) {
        at = RSTART + RLENGTH - 3
        line = substr(line, 1, at - 1) "VEC_" substr(line, at)
    }
    return line
}

# Whole words only, without what not every awk has.
function gensub_word(line, word, by,    done, before, after) {
    done = ""
    while (match(line, word)) {
        before = substr(line, RSTART - 1, 1)
        after = substr(line, RSTART + RLENGTH, 1)
        done = done substr(line, 1, RSTART - 1) ((RSTART > 1 && before ~ /[A-Za-z0-9_]/) || after ~ /[A-Za-z0-9_]/ ? word : by)
        line = substr(line, RSTART + RLENGTH)
    }
    return done line
}

FNR == 1 { file++ }

file == 1 && /^enum status \{|^enum \{ ERR_MESSAGE_MAX|^struct err \{/ { taking = 1 }
file == 1 {
    if (taking) {
        errors = errors public($0) "\n"
        if ($0 ~ /;$/ && ($0 ~ /^}/ || $0 ~ /^enum \{.*};$/)) {
            errors = errors "\n"
            taking = 0
        }
    }
    next
}

/^#include "base\/status.h"$/ { next }
/^#ifdef __cplusplus$/ && !told {
    print "#define VEC_MUST_USE __attribute__((warn_unused_result))\n"
    print
    getline
    print
    getline
    print
    getline
    print
    print ""
    print "/* Kinds of errors are for programs, the message is for people. */\n"
    printf "%s", errors
    told = 1
    getline
    next
}
{ print public($0) }
