# Sources -> objects -> one archive a layer -> bin/lakehouse and libexec/lakehouse-engine.
#
# A layer is a folder of src/; the list, and who may use whom, is tools/layers.txt. The layer `engine` has
# two halves: child_*.c run in the engine process beside DuckDB and make libengine_child.a, the rest makes
# libengine.a. libduck, liblakefs and libengine_child are linked into lakehouse-engine only: the program
# `lakehouse` never links or loads DuckDB.

-include $(BUILD)/layers.mk
$(BUILD)/layers.mk: tools/layers.txt mk/layers.awk
	@mkdir -p $(@D)
	@awk -f mk/layers.awk $< >$@.tmp && mv $@.tmp $@

SERVICES   := gateway storaged catalogd ingestd queryd vectord
CHILD_ONLY := duck lakefs

# ---- objects ----------------------------------------------------------------------------------------

sources = $(sort $(wildcard src/$(1)/*.c src/$(1)/*.cc))
objects = $(patsubst %,$(BUILD)/obj/%.o,$(1))

SRCS_engine_child := $(filter src/engine/child_%,$(call sources,engine))
SRCS_engine       := $(filter-out src/engine/child_%,$(call sources,engine))
$(foreach layer,$(filter-out engine,$(LAYERS)),$(eval SRCS_$(layer) := $(call sources,$(layer))))

ARCHIVES := $(LAYERS) engine_child
ALL_SRCS := $(foreach name,$(ARCHIVES),$(SRCS_$(name))) $(wildcard src/*.c)
ALL_OBJS := $(call objects,$(ALL_SRCS))

# A file that holds what the objects were compiled with; it changes, and all of them with it, only when the
# flags do. keep_text FILE,TEXT is evaluated while make reads this, so nothing runs when nothing changed.
# Without the libraries nothing can be compiled, and what is there stays as it is.
keep_text = $(if $(wildcard $(SDK)),$(if $(call same,$(file <$(1)),$(2)),,$(shell mkdir -p $(dir $(1)))$(file >$(1),$(2))))
same      = $(and $(findstring x$(strip $(1))x,x$(strip $(2))x),$(findstring x$(strip $(2))x,x$(strip $(1))x))
$(call keep_text,$(BUILD)/flags,$(CC) $(CXX) $(CFLAGS_ALL) $(CXXFLAGS_ALL) $(INCLUDE) $(VECTOR_FLAGS) $(SIMD_FLAGS_avx2) $(SIMD_FLAGS_avx512) \
    $(shell $(CC) -dumpfullversion -dumpversion))
# Where a program looks for its libraries; `make install` puts them into a folder of their own in lib/.
rpath = -Wl,-rpath,'$$ORIGIN/$(1)/lakehouse:$$ORIGIN/$(1)'
$(call keep_text,$(BUILD)/ldflags,$(CXX) $(LDFLAGS_ALL) $(LDFLAGS) $(value rpath) $(LIBS) $(LIBS_DUCK))
$(BUILD)/flags $(BUILD)/ldflags: ;

duck_include = $(if $(filter src/duck/% tests/unit/duck/%,$(1)),$(DUCK_INCLUDE))
simd_flags   = $(if $(filter src/vector/%,$(1)),$(VECTOR_FLAGS)) $(SIMD_FLAGS_$(patsubst src/vector/simd_%.c,%,$(filter src/vector/simd_%.c,$(1))))

# DuckDB's headers take most of the time of each file that includes them, so they are compiled once
# beforehand. gcc takes <pch>/duck/duck_priv.hpp.gch for `#include "duck/duck_priv.hpp"` where <pch> is
# searched first, and only for the first #include of a source file.
DUCK_PCH := $(BUILD)/pch/duck/duck_priv.hpp.gch
# DuckDB's enumerations have dozens of members and grow; a `default` that says "not ours" is meant.
DUCK_CXX := -Wno-switch-enum
duck_pch  = $(if $(filter src/duck/%.cc,$(1)),$(DUCK_CXX) -I$(BUILD)/pch)

compile_c   = $(CC) $(CFLAGS_ALL) $(INCLUDE) $(duck_include) $(simd_flags)
compile_cxx = $(CXX) $(CXXFLAGS_ALL) $(duck_pch) $(INCLUDE) $(duck_include)

# compile COMMAND: one object, its dependencies, and its line of compile_commands.json.
define compile
	@mkdir -p $(@D)
	@echo '  CC    $<'
	@$(1) -MMD -MP -MF $(@:.o=.d) -c $< -o $@
	@printf '{"directory": "%s", "file": "%s", "output": "%s", "command": "%s"}\n' \
	    '$(CURDIR)' '$<' '$@' '$(subst ",\",$(1)) -c $< -o $@' >$(@:.o=.json)
endef

$(BUILD)/obj/%.c.o: %.c $(BUILD)/flags | sdk
	$(call compile,$(call compile_c,$<))

$(BUILD)/obj/%.cc.o: %.cc $(BUILD)/flags | sdk
	$(call compile,$(call compile_cxx,$<))

$(BUILD)/obj/src/duck/%.cc.o: src/duck/%.cc $(BUILD)/flags $(DUCK_PCH) | sdk
	$(call compile,$(call compile_cxx,$<))

$(DUCK_PCH): src/duck/duck_priv.hpp $(BUILD)/flags | sdk
	@mkdir -p $(@D)
	@echo '  PCH   $<'
	@$(CXX) $(CXXFLAGS_ALL) $(DUCK_CXX) $(INCLUDE) $(DUCK_INCLUDE) -x c++-header -MMD -MP -MF $(@:.gch=.d) -MT $@ $< -o $@
-include $(DUCK_PCH:.gch=.d)

# The document that the program carries, see src/api/api_openapi.c.
$(BUILD)/obj/src/api/api_openapi.c.o: src/api/openapi.json

.PHONY: sdk
sdk:
	@test -d $(SDK) || { echo "make: the libraries are not here yet: run ./bootstrap first" >&2; exit 1; }

# ---- archives ---------------------------------------------------------------------------------------

# An archive depends on the list of its objects too, so it shrinks when a source is deleted.
define archive_rule
$$(call keep_text,$(BUILD)/lists/$(1),$(SRCS_$(1)))
$(BUILD)/lists/$(1): ;
$(BUILD)/lib$(1).a: $(call objects,$(SRCS_$(1))) $(BUILD)/lists/$(1)
	@rm -f $$@
	@$(AR) rcsD $$@ $(call objects,$(SRCS_$(1)))
endef
$(foreach name,$(ARCHIVES),$(eval $(call archive_rule,$(name))))

archives = $(patsubst %,$(BUILD)/lib%.a,$(1))
# Archives of a parent program, given layers; and of a child, which has both halves of the engine.
parent_archives = $(call archives,$(filter-out $(CHILD_ONLY),$(1)))
child_archives  = $(call archives,$(if $(filter engine,$(1)),engine_child) $(1))

# ---- programs ---------------------------------------------------------------------------------------

RUNTIME_LIBS := $(BUILD)/lib/libduckdb.so $(BUILD)/lib/libyyjson.so.0

PROGRAMS := $(if $(wildcard src/main.c),$(BUILD)/bin/lakehouse $(SERVICES:%=$(BUILD)/bin/%)) \
            $(if $(wildcard src/engine_main.c),$(BUILD)/libexec/lakehouse-engine)

.PHONY: programs
# The header first: half of the build waits for it, the other half does not.
programs: $(DUCK_PCH) $(PROGRAMS) $(call archives,$(ARCHIVES)) $(RUNTIME_LIBS)

# The archives of all layers, each before those it uses.
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))
BIN_ARCHIVES    := $(call parent_archives,$(CLOSURE_cmd))
ENGINE_ARCHIVES := $(call child_archives,$(CLOSURE_engine))

# link RPATH,ARCHIVES,LIBRARIES
define link
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	@$(CXX) $(LDFLAGS_ALL) $(LDFLAGS) $(call rpath,$(1)) -o $@ $(filter %.o,$^) \
	    -Wl,--start-group $(2) -Wl,--end-group $(3)
endef

$(BUILD)/bin/lakehouse: $(BUILD)/obj/src/main.c.o $(BIN_ARCHIVES) $(BUILD)/ldflags | $(RUNTIME_LIBS)
	$(call link,../lib,$(BIN_ARCHIVES),$(LIBS))

$(SERVICES:%=$(BUILD)/bin/%): | $(BUILD)/bin/lakehouse
	@ln -sfn lakehouse $@

$(BUILD)/libexec/lakehouse-engine: $(BUILD)/obj/src/engine_main.c.o $(ENGINE_ARCHIVES) $(BUILD)/ldflags | $(RUNTIME_LIBS)
	$(call link,../lib,$(ENGINE_ARCHIVES),$(LIBS_DUCK) $(LIBS))

# ---- what the program says of itself ------------------------------------------------------------------

SHARE := man/man1/lakehouse.1 bash-completion/completions/lakehouse zsh/site-functions/_lakehouse

.PHONY: share
share: $(SHARE:%=$(BUILD)/share/%)

$(BUILD)/share/man/man1/lakehouse.1: WORDS := reference man
$(BUILD)/share/bash-completion/completions/lakehouse: WORDS := completion bash
$(BUILD)/share/zsh/site-functions/_lakehouse: WORDS := completion zsh
$(SHARE:%=$(BUILD)/share/%): $(BUILD)/bin/lakehouse | $(RUNTIME_LIBS)
	@mkdir -p $(@D)
	@$< $(WORDS) >$@.tmp && mv $@.tmp $@

# ---- libraries --------------------------------------------------------------------------------------

$(BUILD)/lib/%: $(SDK)/lib/% | sdk
	@mkdir -p $(@D)
	@ln -f $< $@ 2>/dev/null || cp -p $< $@
	@touch -c $@

$(SDK)/lib/%: | sdk ;

# ---- for editors and clang-tidy ---------------------------------------------------------------------

# Written beside the objects, and into the tree when this is the default build. Tests that were not built
# yet are left out; `make tidy` builds them first and writes it anew.
define write_compile_commands
	@cat $(wildcard $(patsubst %.o,%.json,$(ALL_OBJS) $(TEST_OBJS) $(FUZZ_OBJS))) | \
	    sed '$$!s/$$/,/; 1s/^/[\n/; $$s/$$/\n]/' >$(BUILD)/compile_commands.json.tmp
	@mv $(BUILD)/compile_commands.json.tmp $(BUILD)/compile_commands.json
	@if [ '$(BUILD)' = build ]; then cp $(BUILD)/compile_commands.json .; fi
endef

$(BUILD)/compile_commands.json: $(ALL_OBJS)
	$(write_compile_commands)

-include $(ALL_OBJS:.o=.d)
