# Needs Python 3.11 to 3.13 and make; everything else goes into .venv. Another Python: make serve PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the last installations were made from; pyproject.toml newer than these means installing again.
RUNTIME := $(VENV)/.installed-runtime
DEVELOPMENT := $(VENV)/.installed-development
BENCHMARK := $(VENV)/.installed-benchmark
RAY := $(VENV)/.installed-ray
MLFLOW := $(VENV)/.installed-mlflow
LOCK := $(VENV)/.installed-lock

# Modules are compiled when they are first imported: most of what is installed never is. An environment that forbids to
# keep what was compiled would have every process compile torch again, which takes longer than all the rest of its start.
PIP_OPTIONS := --no-compile
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup serve test lint audit format docs lock up monitor bench bench-service soak proxies ray mlflow kills distributed clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(DEVELOPMENT) ## Make .venv with all that development needs

serve: $(RUNTIME) ## Serve the model that ships on http://localhost:8000 (more: ARGS="--port 9000")
	@exec $(BIN)/teddy serve $(ARGS)

# Half the time of tests with real processes is waiting. One test at a time: make test AT_ONCE=0
AT_ONCE ?= 4
test: lint ## Check style and types, then run the tests (some: ARGS="tests/model -k crf")
	$(BIN)/pytest --numprocesses $(AT_ONCE) --dist loadfile $(ARGS)

lint: $(DEVELOPMENT) ## Check style and types, dangerous calls, and dependencies with known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml model training service teddy deploy
	$(BIN)/python -m tests.audit

format: $(DEVELOPMENT) ## Put every file into the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEVELOPMENT) ## Make the tables in docs/ again: settings, metrics, keys of a recipe
	@$(BIN)/python -m docs

lock: $(LOCK) ## Write deploy/requirements/: what the image has, in the newest versions, with hashes
	@$(BIN)/python -m deploy.lock

up: ## Serve and watch in containers: Teddy, Prometheus, Alertmanager, Grafana (needs Docker)
	@docker compose version >/dev/null 2>&1 \
	  || { echo "Docker Compose is not here; without it: make serve, and make monitor beside it" >&2; exit 1; }
	docker compose up --build --detach --wait $(ARGS)
	@sed -n 's|^#     \(http://localhost:.*\)|\1|p' docker-compose.yml

monitor: $(RUNTIME) ## Watch the Teddy that runs here with this machine's Prometheus and Alertmanager (ARGS="--help")
	@exec $(BIN)/python -m deploy.monitoring $(ARGS)

bench: $(BENCHMARK) ## Measure speed against others, in at most ten minutes (ARGS="--quick", ARGS="--text FILE")
	@$(BIN)/python -m benchmarks.bench $(ARGS)

bench-service: $(BENCHMARK) ## Measure the service beside others and under attack, in ten minutes (ARGS="--quick"; wants wrk)
	@$(BIN)/python -m benchmarks.service_bench $(ARGS)

soak: $(DEVELOPMENT) ## Send the service ten minutes of mixed traffic and check every answer (ARGS="--minutes 60")
	@$(BIN)/python -m benchmarks.soak $(ARGS)

proxies: $(DEVELOPMENT) ## Send 100,000 requests through this machine's nginx, and as many through its HAProxy (ARGS="--requests 1000")
	@$(BIN)/python -m benchmarks.proxies $(ARGS)

ray: $(RAY) ## Test serving, training and bulk tagging on a local cluster of Ray, whose extra is heavy
	$(BIN)/pytest tests/service/test_ray.py tests/training/test_ray_train.py tests/service/bulk/test_bulk_ray.py $(ARGS)

mlflow: $(MLFLOW) ## Test tracking with MLflow, whose extra is heavy
	$(BIN)/pytest tests/training/test_tracking.py $(ARGS)

kills: $(DEVELOPMENT) ## Kill training and pre-training at 20 random moments each, and compare how they end with an undisturbed run
	@$(BIN)/python -m benchmarks.kill_and_resume $(ARGS)

distributed: $(DEVELOPMENT) ## Test training in processes of torchrun, some of them killed, in five minutes
	TEDDY_TEST_LAUNCHERS=1 $(BIN)/pytest tests/training/test_torchrun.py $(ARGS)

clean: ## Remove what can be made again, .venv included; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_OPTIONS) --editable '.[client,train]'
	@touch $@

$(DEVELOPMENT): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_OPTIONS) --editable '.[dev]'
	@touch $(RUNTIME) $@

$(RAY): pyproject.toml $(DEVELOPMENT) | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_OPTIONS) --editable '.[ray]'
	@touch $@

$(MLFLOW): pyproject.toml $(DEVELOPMENT) | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_OPTIONS) --editable '.[mlflow]'
	@touch $@

$(LOCK): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_OPTIONS) --editable '.[lock]'
	@touch $(RUNTIME) $@

$(BENCHMARK): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_OPTIONS) --editable '.[bench]'
	@touch $(RUNTIME) $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Teddy needs Python 3.11 to 3.13; name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
