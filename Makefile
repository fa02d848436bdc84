EXTENSION  = activate
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)

# The rooms of the house, lowest floor first: a room may use those to its left
# only (`make floors`); the same order links the objects and concatenates the SQL.
ROOMS = core quota token http sign catalog template outbox schedule connector openapi receive rest file quality capture load drift deliver model compare sync observe

# Reading another PostgreSQL by COPY needs libpq as servers of late 2023 ship it; without it there is none.
PG_CONFIG ?= pg_config
LIBPQ     := $(if $(wildcard $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/libpq/libpq-be-fe-helpers.h),$(wildcard \
               $(shell $(PG_CONFIG) --includedir 2>/dev/null)/libpq-fe.h))

MODULE_big = $(EXTENSION)
SOURCES    = $(sort $(wildcard $(ROOMS:%=src/%/*.c)))
OBJS       = src/$(EXTENSION).o $(patsubst %.c,%.o,$(if $(LIBPQ),$(SOURCES),$(filter-out src/load/copy%,$(SOURCES))))
FRAGMENTS  = $(foreach r,$(ROOMS),$(sort $(wildcard src/$(r)/*.sql)))
DEFINITIONS = $(sort $(wildcard src/connector/definitions/*.json))
DATA_built = $(EXTENSION)--$(EXTVERSION).sql

EXTRA_CLEAN = $(OBJS:.o=.d) $(OBJS:.o=.bc) build results log tmp_check

# Tests in the order of the floors, by the name of the room; then all others.
in_sql     = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
by_room    = $(foreach r,setup $(ROOMS),$(filter $(r) $(r)_%,$(in_sql)))
REGRESS    = $(by_room) $(filter-out $(by_room),$(in_sql))
ISOLATION_SPECS = $(sort $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec)))

PG_CPPFLAGS = -Isrc $(LIBPQ:%/libpq-fe.h=-DACTIVATE_LIBPQ -I%) '-DACTIVATE_VERSION="$(EXTVERSION)"' '-DPGDLLEXPORT=__attribute__((visibility("default")))'
PG_CFLAGS   = -fvisibility=hidden -std=gnu11 -Wextra -Wno-unused-parameter -Wno-sign-compare $(if $(WERROR),-Werror)
SHLIB_LINK  = -lcurl -ljson-c $(if $(LIBPQ),-lpq)

# Bodies (option "compress") and files by gzip, where there are headers of zlib; ZLIB= does without.
ZLIB ?= $(shell $(CC) -E -include zlib.h -x c /dev/null >/dev/null 2>&1 && echo yes)
ifneq ($(ZLIB),)
PG_CPPFLAGS += -DACTIVATE_ZLIB
SHLIB_LINK  += -lz
endif

# Files packed by zstd, where there are its headers; ZSTD= does without.
ZSTD ?= $(shell $(CC) -E -include zstd.h -x c /dev/null >/dev/null 2>&1 && echo yes)
ifneq ($(ZSTD),)
PG_CPPFLAGS += -DACTIVATE_ZSTD
SHLIB_LINK  += -lzstd
endif

# Tokens that are signed by RSA (secret "jwt"), where there are headers of OpenSSL; OPENSSL= does without.
OPENSSL ?= $(shell $(CC) -E -include openssl/evp.h -x c /dev/null >/dev/null 2>&1 && echo yes)
ifneq ($(OPENSSL),)
PG_CPPFLAGS += -DACTIVATE_OPENSSL
SHLIB_LINK  += -lcrypto
endif

# These bring what they need themselves, from nothing but gcc and make, and
# work in a sandbox: PGXS may not be there yet.
BY_ITSELF = deps check contract demo bench chaos realapps fuzz valgrind sanitize floors build/service build/loop build/listen
ifneq ($(filter-out $(BY_ITSELF),$(or $(MAKECMDGOALS),all)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Distribution builds of PGXS track no header dependencies.
override CFLAGS += -MMD -MP
-include $(OBJS:.o=.d)
else
check: deps floors
	@sh test/deps.sh openssl nghttp2-proxy libzstd-dev || echo "check: the tests of TLS, HTTP/2 and zstd will be skipped"
	@sh test/deps.sh mariadb-server-core mariadb-client-core libmariadb-dev-compat \
		postgresql-$$($(PG_CONFIG) --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')-mysql-fdw || echo "check: the tests of MariaDB will be skipped"
	@REGRESS='$(REGRESS)' ISOLATION='$(ISOLATION_SPECS)' sh test/sandbox.sh sh test/check.sh

# What the definitions of connectors send, judged by the vendors' own documents; needs npm.
contract: deps
	@sh test/contract.sh

demo: deps
	@sh test/sandbox.sh sh test/demo.sh

# FIGURES="requests batches": only these, and the page stays as it is; ROUNDS=n; FULL=1: sizes of the contract.
bench: deps
	@mkdir -p build
	@FIGURES='$(FIGURES)' ROUNDS='$(ROUNDS)' FULL='$(FULL)' sh test/sandbox.sh sh test/bench/run.sh >build/benchmarks.md; \
		status=$$?; cat build/benchmarks.md; \
		[ $$status != 0 ] || [ -n '$(FIGURES)' ] || cp build/benchmarks.md docs/benchmarks.md; exit $$status

# Writers against a model while everything goes wrong; SEED repeats the choices of a run.
chaos: deps
	@CHAOS_SECONDS='$(or $(SECONDS),60)' CHAOS_SEED='$(SEED)' sh test/sandbox.sh sh test/chaos.sh

# Applications that nobody here wrote, installed and run for the while: docs/realapps.md.  APPS="parse rt directus": some of them.
realapps: deps
	@command -v npm >/dev/null || sh test/deps.sh nodejs npm || echo "realapps: what comes from npm will be skipped"
	@sh test/deps.sh request-tracker5 rt5-standalone rt5-db-sqlite dbconfig-no-thanks || echo "realapps: Request Tracker will be skipped"
	@APPS='$(APPS)' sh test/sandbox.sh sh test/realapps.sh

# The hunts, see docs/reliability.md.  SECONDS for each of TARGETS.
fuzz:
	@sh test/deps.sh clang libclang-rt-dev
	@sh test/fuzz.sh $(or $(SECONDS),20) $(TARGETS)

valgrind sanitize:
	@sh test/deps.sh valgrind bzip2 libxml2-dev bison flex
	@REGRESS='$(REGRESS)' ISOLATION='$(ISOLATION_SPECS)' KEEP='$(KEEP)' sh test/hunt.sh $@
endif

$(EXTENSION)--$(EXTVERSION).sql: $(FRAGMENTS) $(DEFINITIONS)
	cat $(FRAGMENTS) > $@
	for file in $(DEFINITIONS); do \
		printf "INSERT INTO activate.connector (name, definition, shipped) VALUES ('%s', \$$json\$$\n" "$$(basename $$file .json)"; \
		cat $$file; \
		printf '$$json$$, true);\n'; \
	done >> $@

# The CRM-like HTTP service of tests, demo and benchmarks.
build/service: $(wildcard test/service/*.[ch])
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra $(if $(WERROR),-Werror) -o $@ $(filter %.c,$^) -ljson-c

# What figures are compared with.
build/loop build/listen: build/%: test/bench/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra $(if $(WERROR),-Werror) -I$(shell $(PG_CONFIG) --includedir) -o $@ $< -lcurl -lpq

deps:
	@sh test/deps.sh

floors:
	@sh test/floors.sh $(ROOMS)

.PHONY: deps floors check contract demo bench chaos realapps fuzz valgrind sanitize
