EXTENSION  = activate
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)

# The rooms of the house, lowest floor first: a room may use those to its left
# only (`make floors`); the same order links the objects and concatenates the SQL.
ROOMS = core http catalog template outbox schedule connector rest capture load deliver sync observe

MODULE_big = $(EXTENSION)
OBJS       = src/$(EXTENSION).o $(patsubst %.c,%.o,$(sort $(wildcard $(ROOMS:%=src/%/*.c))))
FRAGMENTS  = $(foreach r,$(ROOMS),$(sort $(wildcard src/$(r)/*.sql)))
DATA_built = $(EXTENSION)--$(EXTVERSION).sql

EXTRA_CLEAN = $(OBJS:.o=.d) $(OBJS:.o=.bc) results log tmp_check

PG_CPPFLAGS = -Isrc '-DPGDLLEXPORT=__attribute__((visibility("default")))'
PG_CFLAGS   = -fvisibility=hidden -std=gnu11 -Wextra -Wno-unused-parameter -Wno-sign-compare $(if $(WERROR),-Werror)
SHLIB_LINK  = -lcurl -ljson-c
PG_CONFIG  ?= pg_config
PGXS       := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Distribution builds of PGXS track no header dependencies.
override CFLAGS += -MMD -MP
-include $(OBJS:.o=.d)

$(EXTENSION)--$(EXTVERSION).sql: $(FRAGMENTS)
	cat $^ > $@

floors:
	@sh test/floors.sh $(ROOMS)

.PHONY: floors
