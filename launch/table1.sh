#!/usr/bin/env bash
# The paper's Table I for systems that are trained here, all of them on the same
# records for the same time: SPEAK, Wav2Lip, ATVG, EAMM and TH-PAD, at 64 px.
#
#   bash launch/table1.sh [--out DIR] [--minutes M] [--grid DIR] [--report]
#
# --out DIR      OUT, runs/table1 unless it is said
# --minutes M    of training each, of all stages together, without compilation;
#                20 unless it is said, on this machine with nothing else to do
# --grid DIR     (or GRID=DIR) a folder that holds the GRID corpus's folder s1:
#                a second table, of systems that learn from drawn people who
#                speak its recordings and drawn speech, measured on held-out
#                people who speak recordings. launch/reference.sh --help says
#                where GRID is
# --report       the tables of what is trained, and no training
#
# Every set of people is OUT/SET/data, every system's run OUT/SET/NAME, the
# report OUT/SET/report with methods.md, .csv, .json, .tex and videos, and a
# blind user study of the same videos, the paper's Table II, OUT/SET/study. FOMM
# is a row too: it is the first stage of EAMM's run. Modes stand behind @.
#
# Everything below goes on where it was stopped, and so does this script. Steps
# that fit into the time are counted once, and kept as OUT/SET/NAME.steps.
set -euo pipefail

systems="speak wav2lip atvg eamm thpad"
# Rows of a table: NAME=RUN@MODE, RUN in OUT/SET.
rows="speak=speak wav2lip=wav2lip wav2lip-video=wav2lip@video atvg=atvg
  eamm=eamm eamm-neutral=eamm@neutral fomm=eamm@fomm thpad=thpad
  thpad-teacher=thpad@teacher"

usage() {
  sed -n '2,24s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

out=runs/table1
minutes=20
grid="${GRID:-}"
training=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out="${2:?--out needs a folder}"; shift 2 ;;
    --minutes) minutes="${2:?--minutes needs a number}"; shift 2 ;;
    --grid) grid="${2:?--grid needs a folder}"; shift 2 ;;
    --report) training=""; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "table1.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done
if [ -n "$grid" ]; then
  if [ ! -d "$grid/s1" ]; then
    echo "table1.sh: $grid: holds no folder s1 of the GRID corpus" >&2
    exit 2
  fi
  grid="$(cd "$grid" && pwd)"
fi

# Recorded sentences are aligned with their sounds.
export SPEAK_EXTRAS="${grid:+align}"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
out="$(setup_folder "$out" runs/table1)"
cd "$SPEAK_ROOT"

# The same people and emotions in every set; what they say is another's.
draw() {
  python -m data_pipelines.prepare --source synthetic --identities 200 \
    --held-out 24 --size 96 --framing medium --seed 7 "$@"
}

train() {
  local folder="$1" data="$2" name="$3"
  local config="configs/$name.py:small64" steps="$folder/$name.steps"
  if [ ! -f "$steps" ]; then
    python -m speak_jax.tools.steps_within --minutes "$minutes" \
      --config "$config" --config.data.path="$data" >"$steps.tmp"
    mv "$steps.tmp" "$steps"
  fi
  # One flag a line, none with a space.
  # shellcheck disable=SC2046
  python -m speak_jax.train --config "$config" --config.data.path="$data" \
    --workdir "$folder/$name" $(cat "$steps")
}

# NAME=FOLDER of what raters see: each system once, and the truth.
videos() {
  local folder="$1/report/videos" name found="truth=$1/report/videos/ground-truth"
  for name in $systems; do
    found="$found,$name=$folder/$name"
  done
  printf '%s\n' "$found"
}

# A set's runs, its table of what is measured on MEASURED, and its study.
table() {
  local folder="$1" data="$2" measured="$3" name row models=""
  if [ -n "$training" ]; then
    for name in $systems; do
      train "$folder" "$data" "$name"
    done
  fi
  for row in $rows; do
    models="$models${models:+,}${row%%=*}=$folder/${row#*=}"
  done
  # Whose lips are in step is said by a SyncNet that trained none of them: that
  # of the reference model, of other drawn people.
  python -m speak_jax.evaluate \
    --models "reference=speak_jax/assets/reference,$models" \
    --data "$measured" --swap --videos 8 --cache "$folder/frames" \
    --out "$folder/report"
  python -m speak_jax.tools.study --results "$(videos "$folder")" \
    --out "$folder/study"
}

mkdir -p "$out/drawn"
draw --output "$out/drawn/data" --twins-every 5
table "$out/drawn" "$out/drawn/data" "$out/drawn/data"
[ -n "$grid" ] || exit 0

mkdir -p "$out/grid"
draw --output "$out/grid/data/recorded" --seconds 3 --speech "$grid"
table "$out/grid" "$out/grid/data/recorded,$out/drawn/data" \
  "$out/grid/data/recorded"
