# The layer `vector` as a library for others: lib/liblakevec.so.0, liblakevec.a and include/lakevec.h.
#
# Its objects are compiled once more, position-independent, with the four files of base/ that it uses. What
# the header does not declare is hidden; in the archive it is local to the one object that is in there.

LAKEVEC_VERSION := $(shell sed -n 's/^#define LAKEHOUSE_VERSION "\(.*\)"/\1/p' src/cmd/version.h)
LAKEVEC_SONAME  := liblakevec.so.0
LAKEVEC_SRCS    := $(SRCS_vector) src/base/crc32c.c src/base/mem.c src/base/rng.c src/base/status.c
LAKEVEC_OBJS    := $(patsubst %,$(BUILD)/pic/%.o,$(LAKEVEC_SRCS))
LAKEVEC_LIBS    := $(BUILD)/lib/$(LAKEVEC_SONAME) $(BUILD)/lib/liblakevec.a
LAKEVEC_FILES   := $(LAKEVEC_LIBS) $(BUILD)/lib/liblakevec.so $(BUILD)/include/lakevec.h $(BUILD)/lib/pkgconfig/lakevec.pc

.PHONY: lakevec
lakevec: $(LAKEVEC_FILES)

$(BUILD)/pic/%.c.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  PIC   $<'
	@$(call compile_c,$<) -fPIC -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(call keep_text,$(BUILD)/lists/lakevec,$(LAKEVEC_SRCS))
$(BUILD)/lists/lakevec: ;

$(BUILD)/lib/$(LAKEVEC_SONAME): $(LAKEVEC_OBJS) $(BUILD)/lists/lakevec
	@mkdir -p $(@D)
	@echo '  LINK  $@'
	@$(CC) -shared -pthread -Wl,-soname,$(LAKEVEC_SONAME) -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs -Wl,--as-needed $(LDFLAGS) \
	    -o $@ $(LAKEVEC_OBJS) -lm

$(BUILD)/lib/liblakevec.so: $(BUILD)/lib/$(LAKEVEC_SONAME)
	@ln -sfn $(LAKEVEC_SONAME) $@

$(BUILD)/lib/liblakevec.a: $(LAKEVEC_OBJS) $(BUILD)/lists/lakevec
	@mkdir -p $(@D)
	@rm -f $@
	@$(LD) -r -o $(BUILD)/pic/lakevec.o $(LAKEVEC_OBJS)
	@$(OBJCOPY) --localize-hidden $(BUILD)/pic/lakevec.o
	@$(AR) rcsD $@ $(BUILD)/pic/lakevec.o

$(BUILD)/include/lakevec.h: src/base/status.h src/vector/lakevec.h mk/public_header.awk
	@mkdir -p $(@D)
	@awk -f mk/public_header.awk src/base/status.h src/vector/lakevec.h >$@.tmp && mv $@.tmp $@

$(BUILD)/lib/pkgconfig/lakevec.pc: packaging/lakevec.pc src/cmd/version.h
	@mkdir -p $(@D)
	@sed 's|@VERSION@|$(LAKEVEC_VERSION)|' packaging/lakevec.pc >$@

-include $(LAKEVEC_OBJS:.o=.d)
