# `make tidy`: what a reader would otherwise have to watch over. Each check prints file:line.

## Layers, layout, sizes, words, clang-tidy.
.PHONY: tidy
tidy:
	@./bootstrap --tidy --test
	@$(MAKE) compile-commands
	@failed=; \
	for check in 'check-layers' 'format --check' check-size check-words 'run-tidy --build $(BUILD)'; do \
	    tools/$$check || failed="$$failed $${check%% *}"; \
	done; \
	test -z "$$failed" || { echo "tidy: not clean:$$failed"; exit 1; }

## Bring sources into the layout of .clang-format: make format [FILES="src/store ..."].
.PHONY: format
format:
	@./bootstrap --tidy
	@tools/format $(FILES)
