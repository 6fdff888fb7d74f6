# lakehouse: `make help` lists the targets.
#
#   mk/config.mk   compilers, flags, sanitizers, folders
#   mk/build.mk    sources -> objects -> one archive a layer -> the two programs
#   mk/lakevec.mk  the layer vector as a library for others
#   mk/tests.mk    unit tests, fuzz targets, benchmarks
#   mk/tidy.mk     the checks of `make tidy`
#
# All state lies in $(BUILD): build/, or build/san-<names> with SAN=. Nothing else in the tree is written
# but compile_commands.json, for editors.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

include mk/config.mk
include mk/build.mk
include mk/lakevec.mk
include mk/tests.mk
include mk/tidy.mk

## Build the programs (release). SAN=address,undefined or SAN=thread: with sanitizers, in a folder of its own.
.PHONY: all
all: programs share $(if $(SAN),,lakevec) $(BUILD)/compile_commands.json

## Set up, build, start a server on a free port, ingest three data sets, query them, stop.
.PHONY: demo
demo:
	@./bootstrap
	@$(MAKE) all
	@BUILD=$(BUILD) SDK=$(SDK) tools/demo

## Install below PREFIX (default /usr/local): bin/, libexec/, lib/, include/, share/ (man page, completion). DESTDIR is honoured.
.PHONY: install
install:
	@test -x $(BUILD)/bin/lakehouse || { echo "make: nothing is built in $(BUILD): run make first" >&2; exit 1; }
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec $(DESTDIR)$(PREFIX)/lib/lakehouse
	install -m 755 $(BUILD)/bin/lakehouse $(DESTDIR)$(PREFIX)/bin/lakehouse
	for name in $(SERVICES); do ln -sfn lakehouse $(DESTDIR)$(PREFIX)/bin/$$name || exit 1; done
	install -m 755 $(BUILD)/libexec/lakehouse-engine $(DESTDIR)$(PREFIX)/libexec/lakehouse-engine
	install -m 644 $(RUNTIME_LIBS) $(DESTDIR)$(PREFIX)/lib/lakehouse/
	install -d $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 $(BUILD)/include/lakevec.h $(DESTDIR)$(PREFIX)/include/lakevec.h
	install -m 644 $(LAKEVEC_LIBS) $(DESTDIR)$(PREFIX)/lib/
	ln -sfn $(LAKEVEC_SONAME) $(DESTDIR)$(PREFIX)/lib/liblakevec.so
	sed 's|@PREFIX@|$(PREFIX)|' $(BUILD)/lib/pkgconfig/lakevec.pc >$(DESTDIR)$(PREFIX)/lib/pkgconfig/lakevec.pc
	for file in $(SHARE); do install -D -m 644 $(BUILD)/share/$$file $(DESTDIR)$(PREFIX)/share/$$file || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|' packaging/lakehouse.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/lakehouse.service

# `sudo make install` has another home, so another cache of ./bootstrap: it installs what was built.
ifneq ($(wildcard $(SDK)),)
install: programs share lakevec
endif

## Remove what `make install` with the same PREFIX and DESTDIR has put there.
.PHONY: uninstall
uninstall:
	rm -f $(patsubst %,$(DESTDIR)$(PREFIX)/bin/%,lakehouse $(SERVICES)) $(DESTDIR)$(PREFIX)/libexec/lakehouse-engine
	rm -f $(patsubst %,$(DESTDIR)$(PREFIX)/lib/lakehouse/%,$(notdir $(RUNTIME_LIBS)))
	rm -f $(patsubst %,$(DESTDIR)$(PREFIX)/%,include/lakevec.h lib/pkgconfig/lakevec.pc lib/liblakevec.so $(LAKEVEC_LIBS:$(BUILD)/%=%))
	rm -f $(patsubst %,$(DESTDIR)$(PREFIX)/share/%,$(SHARE)) $(DESTDIR)$(PREFIX)/lib/systemd/system/lakehouse.service
	rmdir --ignore-fail-on-non-empty $(wildcard $(DESTDIR)$(PREFIX)/lib/lakehouse)

## Remove what was built (the cache of ./bootstrap stays).
.PHONY: clean
clean:
	rm -rf $(BUILD) compile_commands.json

## Show this list.
.PHONY: help
help:
	@awk '/^## / { text = substr($$0, 4); next } /^\.PHONY/ { next } \
	      text != "" && /^[a-z][a-z0-9-]*:/ { sub(/:.*/, "", $$1); printf "  make %-10s %s\n", $$1, text } \
	      { text = "" }' Makefile mk/*.mk
