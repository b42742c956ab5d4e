BIN := .venv/bin
INSTALLED := .venv/installed
# The tests start Python some hundred times: it would compile all that it imports each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run demo test coverage test-django6 test-sqlite machine load chaos lint format bench bench-large requirements messages clean

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The first of these that runs, and is Python 3.$(2) or newer.
find_python = for python in $(1); do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, $(2)))' 2>/dev/null && echo "$$python" && break; done
PYTHONS := $(or $(PYTHON),python3.11 python3 python3.14 python3.13 python3.12 python)

# Install what is pinned. uv takes seconds where pip takes a minute.
$(INSTALLED): tests/requirements.txt
	@python="$$($(call find_python,$(PYTHONS),11))"; \
		test -n "$$python" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python"; exit 1; }; \
		echo "Installing into .venv with $$python, once. It takes as long as the network does …"; \
		"$$python" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -E '^uv==' tests/requirements.txt)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python $<
	@touch $@

run: $(INSTALLED) ## Start everything and serve on http://localhost:8000 (PORT, S3_PORT, BIND choose others)
	@$(BIN)/python -m nodus.dev.run

demo: $(INSTALLED) ## Play a REST client: upload, confirm, share, download, and three refusals
	@$(BIN)/python -m nodus.dev.demo

test: $(INSTALLED) ## Run all the tests (ARGS="-k confirm" chooses some)
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: $(INSTALLED) ## Run all the tests, and show which lines and branches none of them runs
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --cov --cov-report= $(ARGS)
	@$(BIN)/coverage report --show-missing --skip-covered

PYTHONS6 := $(or $(PYTHON6),python3.14 python3.13 python3.12 python3 $${PYENV_ROOT:-$$HOME/.pyenv}/versions/*/bin/python3)
TESTS6 := $(addprefix tests/test_,admin.py admin_usage.py api_views.py checks.py messaging.py \
	models.py services_listing.py services_presign.py services_purge.py services_workers.py tokens.py)
test-django6: $(INSTALLED) ## Run the tests that depend on Django with its newest 6.x (PYTHON6 chooses a Python)
	@python="$$($(call find_python,$(PYTHONS6),12))"; \
		test -n "$$python" || { echo "Skipped: Django 6 needs Python 3.12 or newer, and there is none."; exit 0; }; \
		$(BIN)/uv venv --quiet --clear --python "$$python" .venv/django6 && \
		$(BIN)/uv pip install --quiet --python .venv/django6/bin/python --override tests/django6.txt -r tests/requirements.txt && \
		.venv/django6/bin/python -c 'import django; print("Django", django.__version__)' && \
		.venv/django6/bin/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(TESTS6) $(ARGS)

# What the rows go through, and not what the store, the decoder and the clients do to it.
TESTS_SQLITE := $(filter-out tests/test_services_strip.py, $(wildcard tests/test_services_*.py) \
	$(addprefix tests/test_,admin.py api_views.py messaging.py models.py promise.py))
WITHOUT_SQLITE := $(addprefix --deselect=tests/test_promise.py::test_, \
	a_client_posts_other_files_all_through_the_confirm a_client_posts_other_files_all_through_a_copy_in_parts \
	each_call_of_a_confirm_fails_in_each_way each_call_of_a_copy_in_parts_fails_in_each_way)
test-sqlite: $(INSTALLED) ## Run the tests that depend on the database again on SQLite
	@directory=$$(mktemp -d) && trap 'rm -rf "$$directory"' EXIT && \
		DATABASE_URL="sqlite:///$$directory/db.sqlite3" $(BIN)/python -m pytest $(TESTS_SQLITE) $(WITHOUT_SQLITE) $(ARGS)

machine: $(INSTALLED) ## Drive the whole system at random, with faults between (MINUTES=10)
	@MACHINE_MINUTES=$(or $(MINUTES),10) $(BIN)/python -m pytest tests/test_machine.py --verbose

load: $(INSTALLED) ## Let many clients use everything at once (CLIENTS=16, SECONDS=60 or MINUTES, ARGS=--json)
	@$(BIN)/python -m tests.load $(OPTIONS) $(ARGS)

chaos: $(INSTALLED) ## The same while all that nodus stands on fails at random (MINUTES=10, CLIENTS=6, SEED repeats a run)
	@$(BIN)/python -m tests.chaos $(OPTIONS) $(ARGS)

OPTIONS = $(foreach name,CLIENTS SECONDS MINUTES SEED,$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z)=$($(name))))

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
	@$(BIN)/python -m tests.benchmarks.limits
	@$(BIN)/python -m tests.benchmarks.watched

SCALES := purge reconcile admin lists usage deletions
bench-large: $(INSTALLED) ## Measure at 200,000 objects and 1,000,000 rows
	@for scale in $(SCALES); do $(BIN)/python -m tests.benchmarks.$${scale}_at_scale || exit; done
	@$(BIN)/python -m tests.benchmarks.large_files
	@$(BIN)/python -m tests.benchmarks.scanning
	@$(BIN)/python -m tests.benchmarks.thumbnails
	@$(BIN)/python -m tests.benchmarks.scaling

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
