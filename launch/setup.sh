# Makes the environment that the other scripts of this folder run in.
#
#   source launch/setup.sh       from any folder, in bash
#
# An active virtual environment is used as it is; without one .venv is made, by
# $PYTHON if that is set. Versions come from the lock file of the Python found.
# A stamp of the inputs is written last, so a second run does nothing and one
# that was interrupted starts again.

SPEAK_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

setup_say() { printf 'set-up: %s\n' "$*"; }

setup_fail() {
  printf 'set-up failed: %s\n' "$*" >&2
  return 1
}

# Prints "311" or "312"; fails on any other Python and on one that cannot make
# environments (Debian's, without python3-venv).
setup_version() {
  "$1" -c '
import sys, ensurepip, venv
version = sys.version_info[:2]
sys.exit(1) if version not in ((3, 11), (3, 12)) else print("%d%d" % version)
' 2>/dev/null
}

setup_choose_python() {
  local name names=(python3 python3.12 python3.11)
  [ -z "${PYTHON:-}" ] || names=("$PYTHON")
  for name in "${names[@]}"; do
    if setup_version "$name" >/dev/null; then
      printf '%s\n' "$name"
      return
    fi
  done
  setup_fail "${PYTHON:+PYTHON=$PYTHON is not what is needed: }Python 3.11 or" \
    "3.12 with the venv module (Debian: apt install python3 python3-venv)," \
    "on PATH or named by PYTHON=/path/to/python"
}

# Leaves the environment's folder in `environment`.
setup_find_environment() {
  local python
  if [ -n "${VIRTUAL_ENV:-}" ]; then
    environment="$VIRTUAL_ENV"
    setup_version "$environment/bin/python" >/dev/null ||
      setup_fail "the active environment $environment is not of Python 3.11" \
        "or 3.12; deactivate it and .venv is made"
    return
  fi
  environment="$SPEAK_ROOT/.venv"
  local present wanted
  present="$(setup_version "$environment/bin/python")" || present=""
  if [ -n "$present" ] && [ -z "${PYTHON:-}" ]; then
    return
  fi
  python="$(setup_choose_python)" || return 1
  wanted="$(setup_version "$python")"
  if [ "$present" != "$wanted" ]; then
    setup_say "making .venv with $("$python" --version)"
    "$python" -m venv --clear "$environment" ||
      setup_fail "$python could not make $environment"
  fi
}

# One line for every tenth package, since pip is silent for minutes otherwise.
setup_count() {
  awk -v total="$1" '/^(Collecting|Processing) / {
    if (++n % 10 == 0) { printf "set-up: %d of %d packages\n", n, total }
    fflush()
  }'
}

setup_install() {
  local lock="$1" log="$environment/setup.log" total
  total="$(grep -c '==' "$lock")"
  setup_say "installing $total packages of ${lock##*/} into $environment" \
    "(1 to 5 minutes, 2 GB)"
  # The lock file is complete, so there is nothing to resolve.
  (
    set -o pipefail
    python -m pip install --no-input --no-deps --progress-bar off \
      -r "$lock" 2>&1 | tee "$log" | setup_count "$total"
  ) || setup_fail "pip: $(grep -m 1 -i '^error' "$log" || tail -n 1 "$log")" \
    "(whole output: $log)" || return 1
  python -m pip install --no-input --no-deps --no-build-isolation --quiet \
    -e "$SPEAK_ROOT" >>"$log" 2>&1 ||
    setup_fail "pip could not install this checkout (see $log)"
}

setup_models_present() {
  [ -n "${SPEAK_JAX_MODELS:-}" ] ||
    compgen -G "$SPEAK_ROOT/data_pipelines/media/models/*.tflite" >/dev/null
}

setup_all() {
  local environment lock stamp key started=$SECONDS
  setup_find_environment || return 1
  # As `activate` does, which not every kind of environment has.
  export VIRTUAL_ENV="$environment" PATH="$environment/bin:$PATH"
  hash -r
  lock="$SPEAK_ROOT/launch/requirements-py$(setup_version python).txt"
  stamp="$environment/speak_jax.stamp"
  # The checkout is part of the key: an environment holds one of them.
  key="$(python -c '
import hashlib, pathlib, sys
texts = [pathlib.Path(name).read_bytes() for name in sys.argv[1:-1]]
texts.append(sys.argv[-1].encode())
print(hashlib.sha256(b"\0".join(texts)).hexdigest())
' "$lock" "$SPEAK_ROOT/setup.py" "$SPEAK_ROOT")" || return 1
  if [ "$key" != "$(cat "$stamp" 2>/dev/null)" ]; then
    rm -f "$stamp"
    setup_install "$lock" || return 1
    printf '%s\n' "$key" >"$stamp.tmp" && mv "$stamp.tmp" "$stamp" || return 1
    setup_say "environment ready after $((SECONDS - started)) s"
  fi
  if ! setup_models_present; then
    setup_say "fetching the two face model files"
    (cd "$SPEAK_ROOT" && python -m data_pipelines.media.fetch) ||
      setup_fail "the face model files could not be fetched; try again with" \
        "python -m data_pipelines.media.fetch"
  fi
}

# A folder as an absolute path: the script's usual one ($2) lies in the checkout,
# any other is meant from where the caller stands.
setup_folder() {
  case "$1" in
    /*) printf '%s\n' "$1" ;;
    "$2") printf '%s\n' "$SPEAK_ROOT/$1" ;;
    *) printf '%s\n' "$PWD/$1" ;;
  esac
}

# As a condition, so that one failed step ends in its one line and a status.
if ! setup_all; then
  return 1 2>/dev/null || exit 1
fi
