# Everything a person or a pipeline does with this checkout. Needs Python 3.11 or newer, git and make.
#   make rehearse   the whole update 4.18 -> 4.19 on an embedded cluster      make test   all checks and tests
#   make engine     the sample cluster in the foreground, for kubectl         make help   all targets

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
RUN_TIME := $(VENV)/.installed-run-time-$(VERSION)
TESTS := $(VENV)/.installed-tests-$(VERSION)
OLD_CORE := .venv-2.16/.installed
PIP := -m pip install -qq --disable-pip-version-check
PACKAGE := ansible_collections.okd.virt

CLUSTER ?= lab
SPEED ?= 60
KEEP ?=
REHEARSE_ARGS ?=
ENGINE_ARGS ?=
# A file's tests share its engines: they stay together, and in their order.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
SANITY_ARGS ?=
BENCH ?=
SOAK ?=

# Neither the caller's own Ansible settings nor his clusters may reach a rehearsal or a test.
CALLERS := $(filter ANSIBLE_% K8S_AUTH_% KUBECONFIG PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE,$(.VARIABLES))
unexport $(CALLERS)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help venv rehearse engine test lint types docs docs-check changelog-check old-core pytest sanity molecule bench soak clean
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile
	@echo "venv rehearse engine test lint docs sanity molecule bench soak clean"

# --- set-up ---------------------------------------------------------------------------------------------------------

venv: $(RUN_TIME)

$(RUN_TIME): requirements.txt
	@echo "Setting up $(VENV) with Python $(VERSION)"
	@test "$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$(VERSION)" \
		|| $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python $(PIP) -r requirements.txt
	@mkdir -p $(VENV)/collections/ansible_collections/okd
	@ln -sfn ../../../.. $(VENV)/collections/ansible_collections/okd/virt
	@printf '../../../collections\n../../../peers\n' > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/okd_virt.pth"
	@touch $@

$(TESTS): $(RUN_TIME) tests/requirements.txt tests/peers.txt .ci/unpack_peers.py
	@echo "Adding what the tests need"
	@$(BIN)/python $(PIP) -r requirements.txt -r tests/requirements.txt
	@$(BIN)/python .ci/unpack_peers.py tests/peers.txt $(VENV)/peers
	@touch $@

$(OLD_CORE): requirements.txt tests/requirements-2.16.txt
	@python=$$($(PYTHON) .ci/find_python.py 3.12 3.11) || exit 0; \
		echo "Setting up .venv-2.16 with $$python"; \
		$$python -m venv --clear .venv-2.16 && grep -v '^ansible-core' requirements.txt > .venv-2.16/requirements.txt \
		&& .venv-2.16/bin/python $(PIP) -r .venv-2.16/requirements.txt -r tests/requirements-2.16.txt && touch $@

# --- the embedded cluster -------------------------------------------------------------------------------------------

rehearse: $(RUN_TIME)
	@$(BIN)/ansible-playbook okd.virt.rehearse -e rehearse_directory=$(CURDIR)/build/rehearsal \
		-e rehearse_cluster=$(CLUSTER) -e rehearse_speed=$(SPEED) -e rehearse_keep=$(if $(filter-out 0 no false,$(KEEP)),true,false) $(REHEARSE_ARGS)

engine: $(RUN_TIME)
	@mkdir -p build/engine
	@exec $(BIN)/python -m $(PACKAGE).plugins.plugin_utils.engine serve --cluster $(CLUSTER) --kubeconfig build/engine/kubeconfig $(ENGINE_ARGS)

# --- checks and tests -----------------------------------------------------------------------------------------------

# pytest is the last, so that its closing line ends the output.
test: lint docs-check changelog-check old-core pytest

lint: $(TESTS)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint

docs-check: $(TESTS)
	$(BIN)/antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs=dependent --disallow-unknown-collection-refs .

changelog-check: $(TESTS)
	$(BIN)/antsibull-changelog lint

old-core: $(TESTS) $(OLD_CORE)
	@if test -e $(OLD_CORE); then \
		$(BIN)/pytest -q tests/playbooks -k 'update_4_19' --ansible-playbook .venv-2.16/bin/ansible-playbook; \
	else \
		echo "NOT TESTED on ansible-core 2.16: it needs Python 3.11 or 3.12, and none was found beside $(PYTHON) ($(VERSION))"; \
	fi

pytest: $(TESTS)
	$(BIN)/pytest $(PYTEST_ARGS)

sanity: $(TESTS)
	$(BIN)/python .ci/sanity.py $(SANITY_ARGS)

molecule: $(TESTS)
	$(BIN)/molecule test --all

docs: docs-check
	rm -rf build/docs && mkdir -p -m 0755 build/docs
	$(BIN)/antsibull-docs sphinx-init --use-current --squash-hierarchy --sphinx-theme alabaster --dest-dir build/docs okd.virt

bench: $(TESTS)
	$(BIN)/python -m $(PACKAGE).tests.benchmarks $(BENCH)

soak: $(TESTS)
	$(BIN)/python -m $(PACKAGE).tests.soak $(SOAK)

clean:
	rm -rf build $(VENV) .venv-2.16 .ansible .pytest_cache .mypy_cache .ruff_cache .hypothesis
