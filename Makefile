# The front door; the work is done by meson and the scripts.
FIGURES = commit log record http projection rest postgresql vector vector-large vector-servers \
  vector-wide vector-write vector-million vector-pgvector

all: build/build.ninja
	ninja -C build

build/build.ninja:
	tools/install build
	meson setup build

run:
	./run

test:
	./test

test-long:
	./test long

# The same tests on SQLite and on PostgreSQL 15, 17 and 18, and the page that says how it went.
conformance: all
	tools/conformance build

check: all
	tools/check build

install: all
	meson install -C build --no-rebuild
	[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

bench:
	@echo "make bench-NAME, with NAME one of: $(FIGURES)"
	@bench/run

$(addprefix bench-,$(FIGURES)):
	bench/run $(@:bench-%=%)

clean:
	rm -rf build build-asan build-fuzz build-tsan build-clang build-release

.PHONY: all run test test-long conformance check install bench clean $(addprefix bench-,$(FIGURES))
