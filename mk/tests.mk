# Unit tests: each tests/unit/<layer>/test_*.c is one program with cmocka, linked with its layer and the
# layers below it only. Other .c files of that folder are helpers, linked into each test of the layer.
# tests/unit/duck/*, tests/unit/lakefs/* and tests/unit/engine/test_child_*.c link the engine's child half
# and libduckdb; no other test does.
#
# Fuzz targets: each fuzz/<layer>/fuzz_*.c defines LLVMFuzzerTestOneInput. Every build links it with
# fuzz/replay.c, which feeds it the inputs kept in fuzz/corpus/<name> and fuzz/regression/<name>; that runs
# with the unit tests. `make fuzz` links it with clang's libFuzzer.

TEST_SRCS   := $(sort $(wildcard tests/unit/*/test_*.c))
HELPER_SRCS := $(filter-out $(TEST_SRCS),$(sort $(wildcard tests/unit/*/*.c)))
TEST_OBJS   := $(call objects,$(TEST_SRCS) $(HELPER_SRCS))
TESTS       := $(TEST_SRCS:tests/unit/%.c=$(BUILD)/tests/%)

FUZZ_SRCS   := $(sort $(wildcard fuzz/*/fuzz_*.c))
FUZZ_OBJS   := $(call objects,$(FUZZ_SRCS)) $(if $(FUZZ_SRCS),$(call objects,fuzz/replay.c))
REPLAYS     := $(FUZZ_SRCS:fuzz/%.c=$(BUILD)/tests/%)

is_child  = $(filter tests/unit/duck/% tests/unit/lakefs/% tests/unit/engine/test_child_% fuzz/duck/%,$(1))
layer_of  = $(notdir $(patsubst %/,%,$(dir $(1))))
helpers   = $(call objects,$(filter tests/unit/$(1)/%,$(HELPER_SRCS)))
test_archives = $(call $(if $(call is_child,$(1)),child,parent)_archives,$(CLOSURE_$(call layer_of,$(1))))

# test_rule PROGRAM,SOURCE,OTHER OBJECTS,LIBRARIES. Lists of libraries may hold commas, so they are expanded
# only after the arguments of `link` were told apart.
define test_rule
$(1): $(call objects,$(2)) $(3) $(call test_archives,$(2)) $(BUILD)/ldflags | $(RUNTIME_LIBS)
	$$(call link,../../lib,$(call test_archives,$(2)),$(4) $(if $(call is_child,$(2)),$$(LIBS_DUCK)) $$(LIBS))
endef
$(foreach src,$(TEST_SRCS),$(eval $(call \
    test_rule,$(src:tests/unit/%.c=$(BUILD)/tests/%),$(src),$(call helpers,$(call layer_of,$(src))),-lcmocka)))
$(foreach src,$(FUZZ_SRCS),$(eval $(call \
    test_rule,$(src:fuzz/%.c=$(BUILD)/tests/%),$(src),$(if $(FUZZ_LINK),,$(call objects,fuzz/replay.c)),$$(FUZZ_LINK))))

## Build and run all unit tests; unit-<layer> those of one layer.
.PHONY: unit
unit: $(TESTS) $(REPLAYS) programs
	@tests/run --build $(BUILD) --unit-all

.PHONY: $(LAYERS:%=unit-%)
define unit_layer_rule
unit-$(1): $(filter $(BUILD)/tests/$(1)/%,$(TESTS) $(REPLAYS)) $(if $(filter engine query,$(1)),$(filter %engine,$(PROGRAMS)))
	@tests/run --build $(BUILD) --unit $(filter $(BUILD)/tests/$(1)/%,$(TESTS) $(REPLAYS))
endef
$(foreach layer,$(LAYERS),$(eval $(call unit_layer_rule,$(layer))))

# Programs of the benchmarks: built with the tests, so that no change of a header leaves them behind.
BENCH_PROGRAMS := $(BUILD)/bench/duckdb_sql $(BUILD)/bench/catalog_append $(BUILD)/bench/raw_put $(BUILD)/bin/vector-bench

.PHONY: tests-built
tests-built: $(TESTS) $(REPLAYS) $(BENCH_PROGRAMS) all

# Everything compiled, tests included, and the list of it for clang-tidy.
.PHONY: compile-commands
compile-commands: tests-built
	$(write_compile_commands)

PYTHON_TEST = $$(./bootstrap --env test)/bin/python3

## Nine runs of 100,000 random operations on a vector index, held against a plain list (2 minutes); SEED=N for one.
.PHONY: vector-property
vector-property: $(BUILD)/tests/vector/test_property
	@LAKEVEC_OPERATIONS=100000 $(if $(SEED),LAKEVEC_SEED=$(SEED)) $<

## Set up, build, run the unit tests and the integration tests; closes with "N passed, N failed".
.PHONY: test
test:
	@./bootstrap --test
	@$(MAKE) tests-built
	@tests/run --build $(BUILD) --sdk $(SDK) --python $(PYTHON_TEST) --unit-all --integration

## As `test`, and the tests marked slow (crash loops, big inputs, other engines, MinIO and versitygw).
.PHONY: test-all
test-all:
	@./bootstrap --test --interop --s3-peers --spark
	@$(MAKE) tests-built
	@LAKEHOUSE_PEERS=$$(./bootstrap --env s3-peers) LAKEHOUSE_INTEROP=$$(./bootstrap --env interop)/bin/python3 LAKEHOUSE_S3_JS=$$(./bootstrap --env s3-js) \
	    LAKEHOUSE_SPARK=$$(./bootstrap --env spark) \
	    tests/run --build $(BUILD) --sdk $(SDK) --python $(PYTHON_TEST) --unit-all --integration --slow --lake minio

## Set up, build, and run the public conformance suites of S3 against our S3 API (S3_TESTS="NAME..." for some of it).
.PHONY: s3-tests
s3-tests:
	@./bootstrap --s3tests --s3-peers
	@$(MAKE) programs
	@$$(./bootstrap --env s3tests)/bin/python3 tests/s3-tests/run.py --program $(BUILD)/bin/lakehouse \
	    --versitygw $$(./bootstrap --env s3-peers)/versitygw $(S3_TESTS)

$(BUILD)/bench/duckdb_sql: bench/duckdb_sql.c | sdk
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(DUCK_INCLUDE) -o $@ $< $(LIBS_DUCK) -Wl,-rpath,$(SDK)/lib

BENCH_CATALOG := $(call parent_archives,$(CLOSURE_catalog))
$(BUILD)/bench/raw_put: bench/raw_put.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $<

$(BUILD)/bench/catalog_append: $(call objects,bench/catalog_append.c) $(BENCH_CATALOG) $(BUILD)/ldflags | $(RUNTIME_LIBS)
	$(call link,../lib,$(BENCH_CATALOG),$(LIBS))

BENCH_VECTOR := $(call parent_archives,$(CLOSURE_vector))
$(BUILD)/bin/vector-bench: $(call objects,bench/vector/vector_bench.c) $(BENCH_VECTOR) $(BUILD)/ldflags | $(RUNTIME_LIBS)
	$(call link,../lib,$(BENCH_VECTOR),$(LIBS))

## Set up, build and run the benchmarks of bench/ beside their peers; BENCH_FLAGS="--write query" for some of it.
.PHONY: bench
bench:
	@./bootstrap --bench --s3-peers
	@$(MAKE) programs $(BUILD)/bench/duckdb_sql $(BUILD)/bench/catalog_append $(BUILD)/bench/raw_put
	@BUILD=$(BUILD) SDK=$(SDK) bench/run $(BENCH_FLAGS)

# ---- fuzzing ----------------------------------------------------------------------------------------

FUZZ_SECONDS ?= 30

## Run each fuzz target under clang's libFuzzer for FUZZ_SECONDS (30); findings go to fuzz/regression.
.PHONY: fuzz
fuzz:
	@./bootstrap --fuzz
	@$(MAKE) BUILD=$(BUILD)/fuzz CC=clang CXX=clang++ WERROR= SAN=fuzzer-no-link,address,undefined \
	    FUZZ_LINK=-fsanitize=fuzzer,address,undefined fuzz-run

.PHONY: fuzz-run
fuzz-run: $(REPLAYS)
	@test -n '$(REPLAYS)' || { echo 'fuzz: there is no fuzz/<layer>/fuzz_*.c' >&2; exit 1; }
	@failed=; for program in $(REPLAYS); do \
	    name=$$(basename $$program); name=$${name#fuzz_}; echo "  FUZZ $$name"; \
	    mkdir -p $(BUILD)/found/$$name fuzz/corpus/$$name fuzz/regression/$$name; \
	    $$program -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 \
	        -artifact_prefix=fuzz/regression/$$name/ $(BUILD)/found/$$name fuzz/corpus/$$name \
	        fuzz/regression/$$name >$(BUILD)/found/$$name.log 2>&1 || \
	        { tail -n 40 $(BUILD)/found/$$name.log; failed="$$failed $$name"; }; \
	done; rmdir --ignore-fail-on-non-empty fuzz/regression/* fuzz/corpus/*; \
	test -z "$$failed" || { echo "fuzz: findings in$$failed"; exit 1; }

-include $(TEST_OBJS:.o=.d) $(FUZZ_OBJS:.o=.d)
