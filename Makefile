# The two commands of the README: `make demo` and `make test`. They need Python 3.11 to 3.13 and the package index.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
RUN ?= runs/demo
RECORDED ?= runs/main-job
# What android_demo_assets/ holds: a folder of it and the model that it is written from, of `make best`.
ENHANCED = runs/best/enhanced-216e-seed0
ASSETS ?= int8=$(ENHANCED):int8_w8a8 small=runs/best/fastest-150e-seed0:int8_w8a8 float=$(ENHANCED):float32
# Processes that run tests beside each other: a number, or `logical` for as many as there are cores.
WORKERS ?= logical
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test lint types unit format faults docs architecture wheel record record-harness best assets figures clean

help:
	@echo "make demo     train (quick), quantise, benchmark on real data; says where the report is"
	@echo "make test     lint, types and tests"
	@echo "make faults   break files, runs, disks and names on purpose for five minutes; FAULTS='--long' for all counts"
	@echo "make docs     build the documentation site into build/docs; a warning is an error"
	@echo "make wheel    write dist/edgefm-….whl, to install edgefm elsewhere"
	@echo "make architecture  draw the floors of the code from its imports into build/architecture"
	@echo "make record   measure all figures anew on this machine (over an hour): main job, benchmarks"
	@echo "make record-harness  measure what needs no training, on a quiet machine (about 20 minutes, false alarms 40 more)"
	@echo "make best     train, quantise and measure the best small models, on a GPU if there is one; goes on after a stop"
	@echo "make assets   write android_demo_assets/ from the runs of make best, and check it; ASSETS='NAME=RUN:VARIANT ...' for others"
	@echo "make figures  write the figures of README and of docs/figures.md, models.md, best.md, reliability.md, over-time.md"

# One environment for everything; rebuilt when the pins or the project file change.
$(VENV)/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing edgefm and its libraries into $(VENV) (about 2 minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[full,dev,docs]'
	@touch $@

# What the tests measure beside LiteRT: other runtimes, the browser's driver, the estimator of accelerators.
$(VENV)/peers: $(VENV)/installed
	@echo "installing the other runtimes that tests compare with into $(VENV) (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[micro,peers,browser,npu,sign,search,cluster]'
	@touch $@

demo: $(VENV)/installed
	@if [ -f $(RUN)/manifest.json ]; then rm -rf $(RUN); fi
	$(BIN)/edgefm data fetch
	$(BIN)/edgefm train --preset quick --run $(RUN)
	$(BIN)/edgefm quantize $(RUN) --recipe benchmarks/demo_recipe.json
	$(BIN)/edgefm benchmark $(RUN)

test: lint types unit

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(VENV)/installed
	$(BIN)/mypy

# Most tests run beside each other, file by file, each process on one core. Those that need the machine to themselves
# (marker `serial`, see tests/conftest.py) follow one by one, whatever came of the others.
unit: $(VENV)/peers
	@failed=0; \
	echo "the tests that can share the machine, $(WORKERS) processes"; \
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(BIN)/python -m pytest -m "not serial" \
	  -n $(WORKERS) --dist loadfile --no-loadscope-reorder || failed=1; \
	echo "the tests that need the machine to themselves"; \
	$(BIN)/python -m pytest -m serial || failed=1; \
	exit $$failed

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A new seed each time, which is printed; failing inputs are kept. Two processes, each on one core.
faults: $(VENV)/installed
	OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(BIN)/python -m tests.faults $(FAULTS)

docs: $(VENV)/installed
	$(BIN)/python -m sphinx -W --keep-going -E -q -d build/doctrees docs build/docs
	@echo "the site: build/docs/index.html"

architecture: $(VENV)/installed
	$(BIN)/python docs/architecture.py --out build/architecture

wheel: $(VENV)/installed
	$(BIN)/python -m build --wheel --outdir dist
	@ls dist/*.whl

record: $(VENV)/peers
	$(BIN)/python -m benchmarks.main_job --run $(RECORDED)
	$(BIN)/python -m pytest benchmarks --benchmark-enable -q -s; held=$$?; $(MAKE) figures && exit $$held

record-harness: $(VENV)/peers
	-$(BIN)/python -m pytest --benchmark-enable -q -s benchmarks/test_shipped_models.py benchmarks/test_startup.py \
	  benchmarks/test_harness_overhead.py benchmarks/test_profile_sums.py benchmarks/test_parent_memory.py \
	  benchmarks/test_agreement_time.py benchmarks/test_base_install.py
	-$(BIN)/python -m benchmarks.leaderboard
	-$(BIN)/python -m benchmarks.false_alarms --resume
	$(MAKE) figures

# Options: BEST="--rows small,tiny --backend jax --precision mixed_bfloat16 --minutes 12". The page is written in any case.
best: $(VENV)/installed
	$(BIN)/python -m benchmarks.best $(BEST); made=$$?; $(MAKE) figures && exit $$made

assets: $(VENV)/installed
	$(BIN)/edgefm export android $(ASSETS) --data fashion-mnist --samples 20 --pictures 3 --out android_demo_assets --force
	$(BIN)/edgefm verify android_demo_assets
	cd android_demo_assets/small && cp model.tflite contract.json labels.txt ../../edgefm/shipped_model/

figures: $(VENV)/installed
	$(BIN)/python -m benchmarks.figures

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
