PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/installed
export PORT ?= 8000
export S3_PORT ?= 9000
# The tests start Python some hundred times: it would compile all that it imports each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run demo test lint format bench bench-large requirements messages clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Install what is pinned. uv takes seconds where pip takes a minute.
$(INSTALLED): tests/requirements.txt
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -E '^uv==' tests/requirements.txt)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python tests/requirements.txt
	@touch $@

run: $(INSTALLED) ## Start everything and serve on http://localhost:8000 (PORT, S3_PORT choose others)
	@$(BIN)/python -m nodus.dev.run

demo: $(INSTALLED) ## Play a REST client: upload, confirm, share, download, and three refusals
	@$(BIN)/python -m nodus.dev.demo

test: $(INSTALLED) ## Run all the tests (ARGS="-k confirm" chooses some)
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(INSTALLED) ## Run the linters and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Measure requests per second and bytes moved (beside peers that PEERS_PYTHON, PEERS_DIR name)
	@$(BIN)/python -m tests.benchmarks.upload_flow

SCALES := purge reconcile admin lists usage deletions
bench-large: $(INSTALLED) ## Measure at 200,000 objects and 1,000,000 rows
	@for scale in $(SCALES); do $(BIN)/python -m tests.benchmarks.$${scale}_at_scale || exit; done
	@$(BIN)/python -m tests.benchmarks.large_files

requirements: $(INSTALLED) ## Compile the pinned requirements from pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra nodus -o requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra nodus --extra dev -c requirements.txt -o tests/requirements.txt pyproject.toml

MAKE_MESSAGES := django-admin makemessages --locale ru --no-wrap --no-obsolete --add-location file
messages: $(INSTALLED) ## Collect the texts to translate, and compile them (needs gettext)
	@for part in attachments nodus; do \
		(cd $$part && ../$(BIN)/$(MAKE_MESSAGES) && ../$(BIN)/django-admin compilemessages --locale ru) || exit; \
	done

clean: ## Remove what was installed and stored here
	rm -rf .venv .data static
