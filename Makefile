# The whole build. Sources are found by wildcard; a folder of src/ is a layer, and LAYERS below says which other layers it
# may include: that table builds the per-layer archives, links the unit tests and feeds `make lint`.

B ?= build
ifeq ($(origin CC),default)
CC = gcc
endif
V ?=
Q = $(if $(V),,@)
OPT ?= -O2 -g
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wpointer-arith -Werror
CFLAGS ?=
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE $(OPT) $(WARN) -fno-common -fstack-protector-strong -ffp-contract=off -pthread -Isrc -MMD -MP $(SAN_FLAGS) $(CFLAGS)
ifeq ($(SAN),1)
SAN_FLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
PKGS = libevent_core libcurl gnutls jansson libpcre2-8 libutf8proc libedit libseccomp
LIBS = -levent_core -lgnutls -ljansson -lpcre2-8 -lutf8proc -ledit -lseccomp -lm

# layer: layers it may include, besides itself (tests/lint.py holds the sources to it)
LAYERS = base ipc modelfile store sched api http serve gguf kern tok chat model arch engine runner cli
DEPS_base =
DEPS_ipc = base
DEPS_modelfile = base
DEPS_store = base ipc modelfile
DEPS_sched = base ipc modelfile store
DEPS_api = base ipc modelfile store sched
DEPS_http = base ipc modelfile store sched api
DEPS_serve = base ipc modelfile store sched api http
DEPS_gguf = base ipc modelfile
DEPS_kern = base ipc modelfile gguf
DEPS_tok = base ipc modelfile gguf
DEPS_chat = base ipc modelfile gguf
DEPS_model = base ipc modelfile gguf kern tok chat
DEPS_arch = base ipc modelfile gguf kern tok chat model
DEPS_engine = base ipc modelfile gguf kern tok chat model arch
DEPS_runner = base ipc modelfile gguf kern tok chat model arch engine
DEPS_cli = base ipc modelfile

SRC = $(shell find src -name '*.c' | sort)
layer_objs = $(patsubst src/%.c,$(B)/obj/%.o,$(filter src/$(1)/%,$(SRC)))
archives = $(foreach l,$(LAYERS),$(B)/lib/$(l).a)

.PHONY: all help test unit unit-% lint fuzz-replay golden bench clean install
all: $(B)/cria ## build the program (build/cria)

help: ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):[^#]*## */\1\t/' | expand -t 16
	@echo; echo "Variables: B=build folder, CC=gcc|clang, OPT='-O2 -g', SAN=1 (ASan and UBSan)"

# CPU levels by file suffix: only these files may use the instructions, and only dispatch calls them.
ISA_avx2 = -mavx2 -mfma -mf16c -mbmi2
ISA_avx2vnni = $(ISA_avx2) -mavxvnni
ISA_avx512 = $(ISA_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
ISA_avx512vnni = $(ISA_avx512) -mavx512vnni
ISA_avx2evex = $(ISA_avx512vnni) -mprefer-vector-width=256
ISA_avx512bf16 = $(ISA_avx512vnni) -mavx512bf16
isa = $(if $(filter x86_64,$(shell uname -m)),$(ISA_$(lastword $(subst _, ,$(basename $(notdir $(1)))))))
# kernels are worth -O3, but not under sanitizers, where it takes minutes a file
kern_opt = $(if $(SAN),,$(if $(filter src/kern/%,$(1)),-O3))

$(B)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(ALL_CFLAGS) $(call kern_opt,$<) $(call isa,$<) -c -o $@ $<

define layer_archive
$(B)/lib/$(1).a: $(call layer_objs,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer_archive,$(l))))

$(B)/cria: $(B)/obj/main.o $(archives)
	@echo "  LD $@"
	$(Q)$(CC) $(SAN_FLAGS) -pthread -o $@ $< -Wl,--start-group $(archives) -Wl,--end-group $(LIBS)

# Unit tests: tests/unit/LAYER/test_X.c is one program, linked with its layer and the layers below; a CPU level as suffix gives it
# that level's instructions.
TESTS = $(shell find tests/unit -name 'test_*.c' 2>/dev/null | sort)
test_bins = $(patsubst tests/unit/%.c,$(B)/unit/%,$(TESTS))
layer_of = $(firstword $(subst /, ,$(patsubst tests/unit/%,%,$(1))))
test_archives = $(foreach l,$(1) $(DEPS_$(1)),$(B)/lib/$(l).a)
define unit_rule
$(B)/unit/$(patsubst tests/unit/%.c,%,$(1)): $(1) $(call test_archives,$(call layer_of,$(1)))
	@mkdir -p $$(@D)
	$$(Q)$(CC) $$(ALL_CFLAGS) $(call isa,$(1)) -Wno-error -Itests/unit -o $$@ $$< -Wl,--start-group $(call test_archives,$(call layer_of,$(1))) -Wl,--end-group $(LIBS) -lcheck -lsubunit -lrt -lm
endef
$(foreach t,$(TESTS),$(eval $(call unit_rule,$(t))))

unit: $(test_bins) ## build and run the unit tests
	@for t in $(test_bins); do echo "== $$t"; $$t || exit 1; done
unit-%: ## unit tests of one layer (make unit-tok)
	@$(MAKE) --no-print-directory $(filter $(B)/unit/$*/%,$(test_bins))
	@for t in $(filter $(B)/unit/$*/%,$(test_bins)); do echo "== $$t"; $$t || exit 1; done

# Fuzzers: fuzz/fuzz_NAME.c (first comment line names its layer: `/* layer: tok */`), corpus in fuzz/corpus/NAME.
FUZZ = $(wildcard fuzz/fuzz_*.c)
fuzz_layer = $(shell sed -n '1s,.*layer: *\([a-z]*\).*,\1,p' $(1))
define fuzz_rule
$(B)/fuzz/$(patsubst fuzz/fuzz_%.c,%,$(1)): $(1) fuzz/replay.c $(call test_archives,$(call fuzz_layer,$(1)))
	@mkdir -p $$(@D)
	$$(Q)$(CC) $$(ALL_CFLAGS) -Wno-missing-prototypes -o $$@ $(1) fuzz/replay.c -Wl,--start-group $(call test_archives,$(call fuzz_layer,$(1))) -Wl,--end-group $(LIBS)
endef
$(foreach f,$(FUZZ),$(eval $(call fuzz_rule,$(f))))
fuzz_bins = $(patsubst fuzz/fuzz_%.c,$(B)/fuzz/%,$(FUZZ))
.PHONY: fuzz-bins
fuzz-bins: $(fuzz_bins)
fuzz-replay: ## replay every fuzz corpus under ASan and UBSan
	@$(MAKE) --no-print-directory B=$(B)-san SAN=1 OPT='-O1 -g' fuzz-bins
	@for f in $(patsubst fuzz/fuzz_%.c,%,$(FUZZ)); do $(B)-san/fuzz/$$f fuzz/corpus/$$f || exit 1; done
# fuzz-run NAME=tok TIME=60: search with libFuzzer (clang)
fuzz-run: ## search with libFuzzer: make fuzz-run NAME=gguf TIME=60
	@$(MAKE) --no-print-directory B=build-fuzz CC=clang OPT='-O1 -g' SAN_FLAGS='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined' build-fuzz-bin NAME=$(NAME)
	build-fuzz/libfuzzer-$(NAME) -max_total_time=$(or $(TIME),60) -timeout=10 -rss_limit_mb=2048 fuzz/corpus/$(NAME)
.PHONY: build-fuzz-bin fuzz-run
build-fuzz-bin: $(if $(NAME),$(call test_archives,$(call fuzz_layer,fuzz/fuzz_$(NAME).c)))
	$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes -fsanitize=fuzzer,address,undefined -o $(B)/libfuzzer-$(NAME) fuzz/fuzz_$(NAME).c -Wl,--start-group $^ -Wl,--end-group $(LIBS)

lint: ## include rules, file sizes, forbidden calls
	@python3 tests/lint.py

install: $(B)/cria ## install to $(DESTDIR)$(PREFIX)/bin (PREFIX=/usr/local)
	install -D -m 755 $(B)/cria $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/cria

clean: ## remove build folders
	rm -rf build build-*

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
