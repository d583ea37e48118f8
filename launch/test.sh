#!/usr/bin/env bash
# The whole test suite, from a machine with nothing but Python.
#
#   bash launch/test.sh [--campaigns] [arguments for pytest]
set -euo pipefail
export SPEAK_EXTRAS="dev app"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$SPEAK_ROOT"

# Runs one check and says how long it took, or stops at the first that fails.
check() {
  local started=$SECONDS
  echo "== $*"
  "$@" || { echo "failed: $*" >&2; exit 1; }
  echo "== took $((SECONDS - started)) s"
}

check python -m ruff format --check .
check python -m ruff check .
check python -m pyright --pythonpath "$(command -v python)"
echo "== pytest $*"
# A process a core; a file's tests stay together, for they share what is costly,
# and files begin in the order of tests/conftest.py, not by how many tests they
# hold.
# tests/conftest.py keeps compiled programs in .cache/jax for the next run.
exec python -m pytest -n auto --dist loadfile \
  --no-loadscope-reorder ${1+"$@"}
