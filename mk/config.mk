# Compilers, flags and folders. Everything here may be given on the command line: make CC=clang WERROR=

SAN     ?=
comma   := ,
empty   :=
space   := $(empty) $(empty)

BUILD   ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
PREFIX  ?= /usr/local

# Headers and libraries that ./bootstrap put into the cache.
SDK     := $(shell ./bootstrap --sdk)

ifeq ($(origin CC),default)
CC      := gcc
endif
ifeq ($(origin CXX),default)
CXX     := g++
endif
OBJCOPY ?= objcopy
ifeq ($(origin LD),default)
LD      := ld
endif
ifeq ($(origin AR),default)
AR      := ar
endif

OPT     ?= -O2 -g
WERROR  ?= -Werror

# -Wno-unused-parameter: callbacks have the shape that their caller dictates.
WARN    := -Wall -Wextra -Wno-unused-parameter -Wswitch-enum -Wshadow -Wpointer-arith -Wwrite-strings \
           -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Wdate-time $(WERROR)
CWARN   := -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition

# Without -fvisibility=hidden a function of ours would replace a same-named one inside a shared library.
COMMON  := $(OPT) -pthread -fPIE -fvisibility=hidden -fno-strict-aliasing -fno-omit-frame-pointer -D_GNU_SOURCE
INCLUDE := -Isrc -isystem $(SDK)/include
LDFLAGS_ALL := -pthread -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed

ifneq ($(SAN),)
COMMON  += -fsanitize=$(SAN) -fno-sanitize-recover=all
# The thread sanitizer does not follow fences; it may say too much because of them, never too little.
COMMON  += $(if $(findstring thread,$(SAN)),-Wno-tsan)
LDFLAGS_ALL += -fsanitize=$(SAN)
else
COMMON  += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
endif

CFLAGS_ALL   := -std=gnu11 $(COMMON) $(WARN) $(CWARN) $(CFLAGS)
# C++ is where the headers of libraries are. Full debug data of their types would take a third of the time; -g1
# has functions and lines for a backtrace. `make CXXFLAGS=-g` for the rest.
CXXFLAGS_ALL := -std=c++17 $(COMMON) -g1 -fvisibility-inlines-hidden $(WARN) $(CXXFLAGS)

# The one room that sees DuckDB, and the one that has code for particular processors.
DUCK_INCLUDE := -isystem $(SDK)/include/duckdb
# Sums are the same on each processor: nothing is fused unless it is written so.
VECTOR_FLAGS      := -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math
SIMD_FLAGS_avx2   := -mavx2 -mfma
SIMD_FLAGS_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma

# Foreign libraries. Only what every Debian has is linked as a shared library, and libyyjson and libduckdb,
# which travel in lib/ beside the programs. libgnutls is a need of libmicrohttpd; we use no part of it.
LIBS := $(SDK)/lib/libmicrohttpd.a $(SDK)/lib/libllhttp.a -l:libgnutls.so.30 -lcurl \
        -L$(SDK)/lib -l:libyyjson.so.0 -lcrypto -lexpat -lz -lzstd -ledit -lm -ldl $(LDLIBS)
LIBS_DUCK := -L$(SDK)/lib -lduckdb $(SDK)/lib/libnanoarrow.a
