# `make demo` and `make test` do all set-up themselves; see `make help`.
VENV = .venv
RUN = runs/demo
PHOTOGRAPHS = $(RUN)_photographs
STUDIES = runs/studies
RUN_PYTHON = $(VENV)/bin/python

.DEFAULT_GOAL = help
.PHONY: help setup demo studies test test-all docs clean

help:
	@echo 'make demo    pretrain on a folder of photographs into $(PHOTOGRAPHS), on digits into $(RUN);'
	@echo '             evaluate both, export and report the digits'
	@echo 'make studies  repeat the studies of the paper on the digits, three seeds: into $(STUDIES)'
	@echo 'make test    run the tests, all but the slow ones'
	@echo 'make test-all  run every test'
	@echo 'make docs    build the site of docs/ into site/; a warning is an error'
	@echo 'make setup   only install requirements.txt into $(VENV)'
	@echo 'make clean   remove $(RUN) and $(PHOTOGRAPHS)'
	@echo 'PYTHON=python3.12 chooses the Python (3.9 to 3.13), VENV=DIR the environment, RUN=DIR the run folder'

setup:
	@.ci/setup '$(VENV)' '$(PYTHON)'

demo: setup
	$(RUN_PYTHON) -m simclr_tf.data.photographs $(PHOTOGRAPHS)/images
	$(RUN_PYTHON) -m simclr_tf --mode=pretrain --image_dir=$(PHOTOGRAPHS)/images --model_dir=$(PHOTOGRAPHS)/run --budget_minutes=1.5
	$(RUN_PYTHON) -m simclr_tf --mode=linear_eval --checkpoint=$(PHOTOGRAPHS)/run
	$(RUN_PYTHON) -m simclr_tf --mode=pretrain --preset=digits --model_dir=$(RUN)
	$(RUN_PYTHON) -m simclr_tf --mode=linear_eval --checkpoint=$(RUN)
	$(RUN_PYTHON) -m simclr_tf --mode=export --checkpoint=$(RUN)
	$(RUN_PYTHON) -m simclr_tf --mode=report --model_dir=$(RUN)

# About 40 minutes on two free cores. Stopped? The same command goes on.
studies: setup
	$(RUN_PYTHON) -m simclr_tf study --study=all --scale=tiny --seeds=3 --processes=2 --model_dir=$(STUDIES)

# A file stays in one process, which has built what its tests share; the longest files start first.
# A process that crashes ends the run, and its test is named.
PROCESSES = -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

# All files run in parts, each in new processes, which keeps them small; see tests/parts.py.
test: setup
	@$(RUN_PYTHON) -m $(if $(TESTS),pytest,tests.parts 3) $(PROCESSES) -m 'not slow' $(TESTS)

test-all: setup
	@$(RUN_PYTHON) -m $(if $(TESTS),pytest,tests.parts 5) $(PROCESSES) $(TEST_OPTIONS) $(TESTS)

# An environment of its own: the site needs no TensorFlow, and the tests need no site.
DOCS_VENV = .venv-docs
$(DOCS_VENV)/stamp: docs/requirements.txt
	@echo 'docs: installing docs/requirements.txt into $(DOCS_VENV) (once)'
	@$(or $(PYTHON),python3) -m venv --clear '$(DOCS_VENV)'
	@$(DOCS_VENV)/bin/python -m pip install --disable-pip-version-check -r docs/requirements.txt >'$(DOCS_VENV)/install.log' 2>&1
	@touch $@

docs: $(DOCS_VENV)/stamp
	@$(DOCS_VENV)/bin/python -m mkdocs --quiet build --strict --clean
	@echo 'docs: built, open site/index.html'

clean:
	rm -rf $(RUN) $(PHOTOGRAPHS)
