# Unit tests: each tests/unit/<layer>/test_*.c is one program with cmocka, linked with its layer and the
# layers below it only. Other .c files of that folder are helpers, linked into each test of the layer.
# tests/unit/duck/*, tests/unit/lakefs/* and tests/unit/engine/test_child_*.c link the engine's child half
# and libduckdb; no other test does.

TEST_SRCS   := $(sort $(wildcard tests/unit/*/test_*.c))
HELPER_SRCS := $(filter-out $(TEST_SRCS),$(sort $(wildcard tests/unit/*/*.c)))
TEST_OBJS   := $(call objects,$(TEST_SRCS) $(HELPER_SRCS))
TESTS       := $(TEST_SRCS:tests/unit/%.c=$(BUILD)/tests/%)

is_child  = $(filter tests/unit/duck/% tests/unit/lakefs/% tests/unit/engine/test_child_%,$(1))
layer_of  = $(word 3,$(subst /, ,$(1)))
helpers   = $(call objects,$(filter tests/unit/$(1)/%,$(HELPER_SRCS)))
test_archives = $(call $(if $(call is_child,$(1)),child,parent)_archives,$(CLOSURE_$(call layer_of,$(1))))

# A test of duck or lakefs has no engine in its closure, so child_archives adds none; but parent_archives
# would take duck and lakefs away from it.
define test_rule
$(BUILD)/tests/$(1:tests/unit/%.c=%): $(call objects,$(1)) $(call helpers,$(call layer_of,$(1))) $(call test_archives,$(1)) $(BUILD)/ldflags | $(RUNTIME_LIBS)
	$$(call link,../../lib,$(call test_archives,$(1)),-lcmocka $(if $(call is_child,$(1)),$(LIBS_DUCK)) $(LIBS))
endef
$(foreach src,$(TEST_SRCS),$(eval $(call test_rule,$(src))))

## Build and run all unit tests; unit-<layer> those of one layer.
.PHONY: unit
unit: $(TESTS) programs
	@tests/run --build $(BUILD) --unit $(TESTS)

.PHONY: $(LAYERS:%=unit-%)
define unit_layer_rule
unit-$(1): $(filter $(BUILD)/tests/$(1)/%,$(TESTS)) $(if $(filter engine,$(1)),$(if $(wildcard src/engine_main.c),$(BUILD)/libexec/lakehouse-engine))
	@tests/run --build $(BUILD) --unit $(filter $(BUILD)/tests/$(1)/%,$(TESTS))
endef
$(foreach layer,$(LAYERS),$(eval $(call unit_layer_rule,$(layer))))

.PHONY: tests-built
tests-built: $(TESTS) all

## Set up, build, run the unit tests and the integration tests; closes with "N passed, N failed".
.PHONY: test
test:
	@./bootstrap --test
	@$(MAKE) tests-built
	@tests/run --build $(BUILD) --sdk $(SDK) \
	    --python $$(./bootstrap --env test)/bin/python3 --unit-all --integration

-include $(TEST_OBJS:.o=.d)
