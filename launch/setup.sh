# Makes the environment that the other scripts of this folder run in.
#
#   source launch/setup.sh       from any folder, in bash (3.2 and later) or zsh
#   SPEAK_EXTRAS=cuda12 source launch/setup.sh
#
# An active virtual environment is used as it is; without one .venv is made, by
# $PYTHON if that is set. Versions and hashes come from launch/requirements.txt
# and, for each word of SPEAK_EXTRAS (see below), from
# launch/requirements-WORD.txt. A stamp of its inputs is written after each
# list, so a second run does nothing and one that was interrupted starts again.

if [ -z "${BASH_VERSION:-}${ZSH_VERSION:-}" ]; then
  echo "set-up failed: source launch/setup.sh needs bash or zsh" >&2
  # Sourced or run, this ends here.
  return 1 2>/dev/null || exit 1
fi

# Where this file is. zsh has no BASH_SOURCE, and bash cannot read zsh's word.
if [ -n "${ZSH_VERSION:-}" ]; then
  eval 'SPEAK_ROOT="${(%):-%x}"'
else
  SPEAK_ROOT="${BASH_SOURCE[0]}"
fi
SPEAK_ROOT="$(cd "$(dirname "$SPEAK_ROOT")/.." && pwd)"

# No arrays below: bash before 4.4 fails on empty ones, zsh counts from 1.

setup_say() { printf 'set-up: %s\n' "$*"; }

setup_fail() {
  printf 'set-up failed: %s\n' "$*" >&2
  return 1
}

# Says whether a Python is one of those that the lists are made for, and can
# make environments (Debian's cannot without python3-venv).
setup_fits() {
  "$1" -c '
import sys, ensurepip, venv
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
' 2>/dev/null
}

setup_choose_python() {
  local name
  set -- python3 python3.13 python3.12 python3.14 python3.11
  [ -z "${PYTHON:-}" ] || set -- "$PYTHON"
  for name in "$@"; do
    if setup_fits "$name"; then
      printf '%s\n' "$name"
      return
    fi
  done
  setup_fail "${PYTHON:+PYTHON=$PYTHON is not what is needed: }Python 3.11 to" \
    "3.14 with the venv module (Debian and Ubuntu: apt install python3" \
    "python3-venv; macOS: brew install python@3.13), on PATH or named by" \
    "PYTHON=/path/to/python"
}

# Leaves the environment's folder in `environment`.
setup_find_environment() {
  local python present wanted
  if [ -n "${VIRTUAL_ENV:-}" ]; then
    environment="$VIRTUAL_ENV"
    setup_fits "$environment/bin/python" ||
      setup_fail "the active environment $environment is not of Python 3.11" \
        "to 3.14; deactivate it and .venv is made"
    return
  fi
  environment="$SPEAK_ROOT/.venv"
  present=""
  if setup_fits "$environment/bin/python"; then
    [ -n "${PYTHON:-}" ] || return 0
    present="$("$environment/bin/python" --version)"
  fi
  python="$(setup_choose_python)" || return 1
  wanted="$("$python" --version)"
  if [ "$present" != "$wanted" ]; then
    setup_say "making .venv with $wanted"
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

# The line of pip's output that says what is wrong.
setup_error() {
  grep -i '^error' "$1" | grep -v -m 1 'Ignored the following' ||
    tail -n 1 "$1"
}

setup_pip() {
  local list="$1" log="$2" total
  total="$(grep -c '==' "$list")"
  setup_say "installing up to $total packages of ${list##*/} into $environment"
  # A list is complete, so there is nothing to resolve.
  (
    set -o pipefail
    python -m pip install --no-input --no-deps --require-hashes \
      --progress-bar off -r "$list" 2>&1 | tee "$log" | setup_count "$total"
  ) || setup_fail "pip: $(setup_error "$log") (whole output: $log)"
}

setup_checkout() {
  python -m pip install --no-input --no-deps --no-build-isolation --quiet \
    -e "$SPEAK_ROOT" >>"$1" 2>&1 ||
    setup_fail "pip could not install this checkout (see $1)"
}

# Installs a list, and with the first one this checkout, unless that is done.
setup_list() {
  local extra="$1" list stamp log key
  list="$SPEAK_ROOT/launch/requirements${extra:+-$extra}.txt"
  stamp="$environment/speak_jax${extra:+-$extra}.stamp"
  log="$environment/setup${extra:+-$extra}.log"
  [ -f "$list" ] || {
    setup_fail "SPEAK_EXTRAS: there is no extra $extra (app, align, dev, cuda, cuda12, peers, serve, tpu)"
    return 1
  }
  # The checkout is part of the key: an environment holds one of them.
  key="$(python -c '
import hashlib, pathlib, sys
texts = [pathlib.Path(name).read_bytes() for name in sys.argv[1:-1]]
texts.append(sys.argv[-1].encode())
print(hashlib.sha256(b"\0".join(texts)).hexdigest())
' "$list" "$SPEAK_ROOT/setup.py" "$SPEAK_ROOT")" || return 1
  [ "$key" != "$(cat "$stamp" 2>/dev/null)" ] || return 0
  rm -f "$stamp"
  setup_pip "$list" "$log" || return 1
  if [ -z "$extra" ]; then
    setup_checkout "$log" || return 1
  fi
  setup_fresh=yes
  printf '%s\n' "$key" >"$stamp.tmp" && mv "$stamp.tmp" "$stamp"
}

# Photographs and videos need three small networks; drawn faces do not, so
# without them there is a warning. They are asked for after an installation.
setup_models() {
  local folder="${SPEAK_JAX_MODELS:-$SPEAK_ROOT/data_pipelines/faces/models}"
  if [ -f "$folder/face_detection_short_range.tflite" ] &&
    [ -f "$folder/face_landmark.tflite" ] &&
    [ -f "$folder/iris_landmark.tflite" ]; then
    return 0
  fi
  if [ -n "$setup_fresh" ] && [ -z "${SPEAK_JAX_MODELS:-}" ]; then
    setup_say "fetching the face model files"
    (cd "$SPEAK_ROOT" && python -m data_pipelines.faces.fetch) && return 0
  fi
  setup_say "warning: without the face model files only drawn faces can" \
    "be trained on, and no picture or video be read; to get them: python -m" \
    "data_pipelines.faces.fetch (docs/install.md)" >&2
}

setup_all() {
  local environment setup_fresh="" rest extra started=$SECONDS
  setup_find_environment || return 1
  # As `activate` does, which not every kind of environment has.
  export VIRTUAL_ENV="$environment" PATH="$environment/bin:$PATH"
  hash -r
  setup_list "" || return 1
  rest="${SPEAK_EXTRAS:-} "
  while [ -n "$rest" ]; do
    extra="${rest%% *}"
    rest="${rest#* }"
    [ -z "$extra" ] || setup_list "$extra" || return 1
  done
  [ -z "$setup_fresh" ] ||
    setup_say "environment ready after $((SECONDS - started)) s"
  setup_models
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
