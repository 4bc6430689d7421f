# The two commands of this book: `make book` and `make test`. Both need Python >= 3.11 and make.
VENV := .venv/bin/python
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

.PHONY: help book test rerun lock install clean

help:
	@echo "make book    execute the chapters and render the book to _build/html"
	@echo "make test    run every test, the notebooks at the smoke profile among them, JOBS=2 at a time"
	@echo "make rerun SWEEP=ll_fer CORES=2    the runs of sweeps/ll_fer.yaml that are not finished"
	@echo "make lock    pin again what pyproject.toml asks for (UPGRADE=--upgrade takes the newest)"
	@echo "make clean   delete the rendered book and its execution cache"
	@echo "Both make book and make test first fill .venv, once. PYTHON=... names the Python to use."

book: install
	@$(VENV) tools/build_book.py

test: install
	@OMP_NUM_THREADS=1 $(VENV) -m pytest -n $(or $(JOBS),2) --dist loadfile --nbmake --nbmake-timeout=600 -q -rfEs --durations=5 book tests

rerun: install
	@$(VENV) -m fer_lib rerun $(SWEEP) --cores $(or $(CORES),1) $(if $(OUT),--out $(OUT)) -- $(ARGS)

lock: install
	@$(VENV) -m pip install --quiet uv
	@$(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --no-annotate $(UPGRADE) \
		--custom-compile-command 'make lock' --extra test --output-file requirements.lock pyproject.toml

install:
	@for python in $(PYTHONS); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$python" tools/install.py; \
		fi; \
	done; \
	echo "No Python 3.11 or newer among: $(PYTHONS). Install one, or name it: make book PYTHON=path/to/python3" >&2; \
	exit 1

clean:
	rm -rf _build
