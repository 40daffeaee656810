# earshot: make help says what can be made.
#
# Every room's sources go into one archive; the roof (daemon/*.c), the command
# line (daemon/ctl), unit tests, fuzzers and benches are linked with it.  A room
# is found by its folder, so a new file needs no line here.

VERSION = 0.1.0

# The packager's.
PREFIX ?= /usr/local
DESTDIR ?=
CFLAGS ?= -O2 -g
LDFLAGS ?=

# Where everything goes, what a sanitizer build adds; V=1 shows the commands.
B ?= build
SAN ?=
Q = $(if $(V),,@)
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=$(shell nproc)
endif

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wformat=2 -Wvla

# Asked for when a recipe first needs them and not before: `make run` installs
# pkg-config itself.  Foreign headers are not held to our warnings.
export PKG_CONFIG_PATH := $(CURDIR)/build/deps/lib/pkgconfig:$(PKG_CONFIG_PATH)
PKG_CONFIG = PKG_CONFIG_PATH='$(PKG_CONFIG_PATH)' pkg-config
PACKAGES = libwebsockets libevent_core libevent_pthreads openssl libsystemd \
	zlib jansson
MINIMUM = 'libwebsockets >= 4.3' 'libevent >= 2.1' 'openssl >= 3.0' \
	'libsystemd >= 245' 'zlib >= 1.2' 'jansson >= 2.11'
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $(patsubst -I%,-isystem %,\
	$(shell $(PKG_CONFIG) --cflags $(PACKAGES))))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := \
	$(shell $(PKG_CONFIG) --libs $(PACKAGES)))$(PACKAGE_LIBS)

# gcc 12 -O2 takes a load from a list's head out of the loop that changes the
# list (tests/unit/test_list.c shows it), but not with -fno-strict-aliasing.
ALL_CFLAGS = -std=c11 -fno-strict-aliasing -D_GNU_SOURCE \
	-DEARSHOT_VERSION='"$(VERSION)"' -pthread -I. $(WARNINGS) \
	$(PACKAGE_CFLAGS) $(if $(UCONTEXT),-DES_UCONTEXT) \
	$(if $(DEBUG),-DES_DEBUG) $(CFLAGS) $(SAN)
# The static archive: assembler only, where the shared one wants libstdc++.
# Where there is none, or with UCONTEXT=1, libc's switches do, at forty times
# the price of a task's.
UCONTEXT ?= $(eval UCONTEXT := $(if $(filter /%,\
	$(shell $(CC) -print-file-name=libboost_context.a)),,1))$(UCONTEXT)
BOOST = $(if $(UCONTEXT),,-l:libboost_context.a)
# DEBUG=1, in a B of its own, is for those who look for a fault in their use of
# daemon/loop: see its debug.h.
LIBS = -Wl,--as-needed $(PACKAGE_LIBS) $(BOOST) -lm -ldl

ROOMS = $(filter-out daemon/ctl/%,$(wildcard daemon/*/*.c)) \
	$(wildcard proto/*.c conf/*.c systemd/*.c)
UNITS = $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
FUZZERS = $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
PROGRAM_SOURCES = $(shell grep -ls '^main\>' tests/lib/*.c tests/bench/*.c \
	tests/seeds/*.c)
PARTS = $(filter-out $(PROGRAM_SOURCES),$(wildcard tests/$(1)/*.c))
HELPERS = $(patsubst %.c,$(B)/%,$(filter tests/lib/%,$(PROGRAM_SOURCES)))
SEEDS = $(patsubst %.c,$(B)/%,$(filter tests/seeds/%,$(PROGRAM_SOURCES)))
HOOKED = $(B)/tests/lab/earshotd
BENCHES = $(patsubst %.c,$(B)/%,$(filter tests/bench/%,$(PROGRAM_SOURCES)))
SOURCES = $(ROOMS) $(wildcard daemon/*.c daemon/ctl/*.c tests/*/*.c)
HEADERS = $(wildcard daemon/*/*.h proto/*.h conf/*.h systemd/*.h tests/*/*.h)
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

DEBUGGED = $(patsubst %.c,$(B)/debug/%.o,$(wildcard daemon/loop/*.c))
PLUGINS = $(patsubst %.c,$(B)/%.so,$(wildcard tests/plugins/*.c))

LIBRARY = $(B)/libearshot.a
PROGRAMS = $(B)/earshotd $(if $(wildcard daemon/ctl/*.c),$(B)/earshot)
TESTED = $(PROGRAMS) $(UNITS) $(FUZZERS) $(HELPERS) $(SEEDS) $(HOOKED) \
	$(PLUGINS) $(B)/earshot.h

all: $(LIBRARY) $(PROGRAMS) $(B)/earshot.h

help:
	@echo 'make run             set up, build, stream vmstat on 127.0.0.1:8080'
	@echo 'make test            set up, build, every test; check: the fast ones'
	@echo 'make                 build only; set-up alone: make deps; with'
	@echo '                     DEBUG=1 B=build-debug: daemon/loop/debug.h'
	@echo 'make check-asan      the same tests with ASan and UBSan;'
	@echo '                     check-tsan, check-valgrind: likewise; threads:'
	@echo '                     check-helgrind, of daemon/loop'
	@echo 'make check-lab-long  the scenes under a real systemd, full counts'
	@echo 'make check-signals   random signal sequences, SEQUENCES (1000)'
	@echo 'make check-model     random scripts beside a model, SCRIPTS (10000)'
	@echo 'make check-flaps     peers and processes that end, FLAPS (100) times'
	@echo 'make check-rounds    short lives of a loop, ROUNDS (10000) of each'
	@echo 'make fuzz            run each fuzzer FUZZ_SECONDS (60)'
	@echo 'make bench           every tests/bench script; one: make bench-NAME'
	@echo 'make lint format     the checks of tests/lint; clang-format'
	@echo 'make install         DESTDIR= PREFIX=$(PREFIX); also: uninstall, clean'
	@echo 'make deb             a Debian package in $(B)/deb'

# Set-up, by section of tests/setup/packages.txt.  What needs it comes after
# it, also with -j.
deps:
	@tests/setup/setup.sh build
deps-%: deps
	@tests/setup/setup.sh $*
# Where a real systemd cannot be booted its scenes are skipped, and say why.
deps-lab: deps
	@tests/setup/setup.sh lab
	@tests/lab/root.sh >/dev/null || [ $$? = 77 ]

WITH_SETUP = $(filter deps run test check check-% fuzz bench bench-% lint deb,\
	$(MAKECMDGOALS))
$(call objects,$(SOURCES)) $(DEBUGGED): | $(if $(WITH_SETUP),deps) found
$(call objects,$(wildcard tests/*/*.c)) $(PLUGINS): | $(if $(WITH_SETUP),deps-test)

found: $(if $(WITH_SETUP),deps)
	@pkg-config --print-errors --exists $(MINIMUM) || { echo >&2 \
	"earshot: libraries are missing; 'make deps' brings them (README)"; \
	exit 1; }

run: deps all
	$(B)/earshotd -c conf/demo.conf

$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D) && echo '  CC    $@'
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(LIBRARY): $(call objects,$(ROOMS))
	@rm -f $@ && mkdir -p $(@D) && echo '  AR    $@'
	$(Q)$(AR) rcs $@ $^

LINK = mkdir -p $(@D) && echo '  LINK  $@' && \
	$(CC) $(CFLAGS) $(SAN) $(LDFLAGS) -pthread -o $@ $(filter %.o,$^) $(filter %.a,$^)

$(B)/earshotd: $(call objects,$(wildcard daemon/*.c)) $(LIBRARY)
	$(Q)$(LINK) $(LIBS)

# The test build: the same objects, and what a test can make them do.
$(HOOKED): $(call objects,$(wildcard daemon/*.c) tests/lab/hooks.c) $(LIBRARY)
	$(Q)$(LINK) $(LIBS)

$(B)/earshot: $(call objects,$(wildcard daemon/ctl/*.c)) $(LIBRARY)
	$(Q)$(LINK) $(LIBS)

# What plugins elsewhere include: the two headers in one.
$(B)/earshot.h: daemon/handler/earshot.h daemon/handler/earshot_calls.h
	@mkdir -p $(@D)
	$(Q)sed '/earshot_calls.h/r daemon/handler/earshot_calls.h' $< | \
	    sed '/include "daemon/d' >$@

# Beside its own object a test has all of tests/lib, a bench all of its folder,
# but for what has a main and so is a program itself.
$(UNITS): $(B)/%: $(B)/obj/%.o $(call objects,$(call PARTS,lib)) $(LIBRARY)
	$(Q)$(LINK) -lcmocka $(LIBS)

# One of them has daemon/loop as it is built with DEBUG=1: these objects are
# linked, and hide those in the archive.
$(DEBUGGED): $(B)/debug/%.o: %.c Makefile
	@mkdir -p $(@D) && echo '  CC    $@'
	$(Q)$(CC) $(ALL_CFLAGS) -UES_DEBUG -DES_DEBUG -MMD -MP -c -o $@ $<
$(B)/tests/unit/test_debug: $(DEBUGGED)

# A fuzzer replays its corpus unless `make fuzz` gives it another main.
REPLAY ?= $(call objects,tests/fuzz/replay.c)
$(FUZZERS): $(B)/%: $(B)/obj/%.o $(REPLAY) $(LIBRARY)
	$(Q)$(LINK) $(LIBS)

$(HELPERS): $(B)/%: $(B)/obj/%.o $(call objects,$(call PARTS,lib)) $(LIBRARY)
	$(Q)$(LINK) -lcmocka $(LIBS)

# As plugins are built by others: nothing of the daemon is linked.
PLUGIN_LIBS = $(if $(filter %/lookup.so,$@),-lsqlite3) \
	$(if $(filter %/members.so,$@),-ljansson)
$(PLUGINS): $(B)/%.so: %.c Makefile
	@mkdir -p $(@D) && echo '  SO    $@'
	$(Q)$(CC) $(ALL_CFLAGS) -fPIC -shared -MMD -MP -MF $(@:.so=.d) \
	    $(LDFLAGS) -o $@ $< $(PLUGIN_LIBS)

$(BENCHES): $(B)/%: $(B)/obj/%.o $(call objects,$(call PARTS,bench)) $(LIBRARY)
	$(Q)$(LINK) $(LIBS)

$(SEEDS): $(B)/%: $(B)/obj/%.o $(call objects,$(call PARTS,seeds)) $(LIBRARY)
	$(Q)$(LINK) $(LIBS)

test: deps-test deps-lab deps-deb $(TESTED)
	@B=$(B) tests/run all
check: deps-test $(TESTED)
	@B=$(B) tests/run check
# The scenes of the lab with their full counts.
check-lab-long: deps-test deps-lab deps-deb $(TESTED)
	@B=$(B) LAB_LONG=yes tests/run all scene/7
# Random scripts beside a model.
check-model: deps-test $(TESTED)
	@B=$(B) SCRIPTS=$(or $(SCRIPTS),10000) tests/scene/26-model.py
# At any moment of a life; SEED= repeats one.
check-signals: deps-test $(TESTED)
	@B=$(B) SEQUENCES=$(or $(SEQUENCES),1000) SEED=$(or $(SEED),$$$$) \
	    tests/scene/69-signals-at-random.py
# Peers that go away, processes that are killed, lines without an end.
check-flaps: deps-test $(TESTED)
	@B=$(B) FLAPS=$(or $(FLAPS),100) CUTS=$(or $(FLAPS),100) \
	    EARSHOT_KILLS=$(or $(FLAPS),100) ZEROS=1000000000 \
	    tests/run all scene/30-command scene/64 scene/84 scene/85 scene/86
# Start, stop, join, close of a loop, over and over.
check-rounds: deps-test $(B)/tests/unit/test_rounds
	@ROUNDS=$(or $(ROUNDS),10000) $(B)/tests/unit/test_rounds
check-valgrind: deps-test deps-valgrind $(TESTED)
	@B=$(B) tests/run valgrind
check-helgrind: deps-test deps-valgrind $(TESTED)
	@B=$(B) tests/run helgrind

# The one use of make within make: the same rules for another B and SAN, which
# one make can hold only once.
AGAIN = $(MAKE) --no-print-directory CFLAGS='-O1 -g -fno-omit-frame-pointer'
# UBSan's shared library would ignore where its reports are wanted.
check-asan: deps-test
	@+$(AGAIN) B=$(B)-asan check-sanitized LDFLAGS=-static-libubsan \
	    SAN='-fsanitize=address,undefined -fno-sanitize-recover=undefined'
check-tsan: deps-test
	@+$(AGAIN) B=$(B)-tsan check-sanitized SAN='-fsanitize=thread'
check-sanitized: $(TESTED)
	@B=$(B) tests/run sanitizer

FUZZ_SECONDS ?= 60
fuzz: deps-fuzz
	@+$(AGAIN) B=$(B)-fuzz CC=clang REPLAY= LDFLAGS=-fsanitize=fuzzer \
	    SAN='-fsanitize=fuzzer-no-link,address,undefined' run-fuzzers
run-fuzzers: $(FUZZERS)
	@for f in $(notdir $(FUZZERS)); do \
	    mkdir -p $(B)/found/$$f && $(B)/tests/fuzz/$$f -print_final_stats=1 \
	    -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(B)/found/ \
	    $(B)/found/$$f tests/fuzz/$$f || exit 1; done

# bench-NAME runs tests/bench/NAME.sh or .py: values on stdout, words on stderr.
bench: $(patsubst tests/bench/%,bench-%,$(basename \
	$(wildcard tests/bench/*.sh tests/bench/*.py)))
bench-%: deps-bench all $(BENCHES) $(SEEDS)
	@B=$(B) $(wildcard tests/bench/$*.sh tests/bench/$*.py)

LINT_FLAGS = $(filter-out $(CFLAGS) $(SAN),$(ALL_CFLAGS))
lint: deps-test deps-lint found
	@CC='$(CC)' B=$(B) FLAGS='$(subst ','\'',$(LINT_FLAGS))' tests/lint/lint

format: deps-lint
	clang-format -i $(SOURCES) $(HEADERS)

# FILE=PLACE below PREFIX; what is in bin and sbin can be run.
DOC = share/doc/earshot
MAN = $(foreach n,1 3 5 7 8,$(foreach f,$(wildcard daemon/*.$n daemon/*/*.$n \
	conf/*.$n proto/*.$n),$f=share/man/man$n/$(notdir $f)))
INSTALLED = $(B)/earshotd=sbin/earshotd $(B)/earshot=bin/earshot $(MAN) \
	daemon/ctl/earshot.bash=share/bash-completion/completions/earshot \
	$(B)/earshot.h=include/earshot.h \
	daemon/handler/exec.md=$(DOC)/exec.md \
	systemd/earshot.service=lib/systemd/system/earshot.service \
	systemd/earshot.socket=lib/systemd/system/earshot.socket \
	systemd/earshot.sysusers=lib/sysusers.d/earshot.conf \
	systemd/earshot.catalog=lib/systemd/catalog/earshot.catalog \
	$(foreach f,$(wildcard systemd/dropins/*),\
	$f=$(DOC)/dropins/$(notdir $f)) \
	$(foreach f,conf/earshot.conf conf/demo.conf conf/journal.conf,\
	$f=$(DOC)/examples/$(notdir $f))

install: install-files
install-files: | $(if $(filter install,$(MAKECMDGOALS)),all)
	@for f in $(INSTALLED); do \
	    place='$(DESTDIR)$(PREFIX)'/$${f#*=}; \
	    case $$f in *=bin/*|*=sbin/*) mode=755;; *) mode=644;; esac; \
	    install -D -m $$mode "$${f%%=*}" "$$place" || exit 1; \
	    case $$f in *.service) sed -i 's|/usr/\(s*[bh]\)|$(PREFIX)/\1|' \
		"$$place" || exit 1; esac; done
	@echo 'earshot is in $(DESTDIR)$(PREFIX); next: README, section "As a service"'

uninstall:
	@rm -f $(foreach f,$(INSTALLED),\
	    '$(DESTDIR)$(PREFIX)/$(word 2,$(subst =, ,$f))')
	@rmdir '$(DESTDIR)$(PREFIX)/$(DOC)'/*/ '$(DESTDIR)$(PREFIX)/$(DOC)' || true

deb: deps deps-deb
	@systemd/debian/build.sh $(B)/deb

# What set-up built stays: it is not ours and half a minute's work.
clean:
	rm -rf $(B)/obj $(B)/debug $(B)/tests $(LIBRARY) $(PROGRAMS) $(B)/earshot.h \
	    $(B)-asan $(B)-tsan $(B)-fuzz

.PHONY: all help deps deps-lab found run test check check-lab-long \
	check-model check-signals check-flaps check-rounds check-valgrind \
	check-helgrind check-asan check-tsan check-sanitized \
	fuzz run-fuzzers bench lint format install install-files uninstall \
	deb clean
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:

-include $(patsubst %.o,%.d,$(call objects,$(SOURCES)) $(DEBUGGED)) $(PLUGINS:.so=.d)
