#!/usr/bin/env bash
# The models that come with the package: measured or trained anew.
#
#   bash launch/reference.sh report [--out DIR]   held-out people of the bundle
#                                                 `reference` are drawn and it
#                                                 is measured: 9 minutes
#   bash launch/reference.sh train [--out DIR] [--grid DIR] [--portraits DIR]
#                                                 data, training, bundles,
#                                                 report: some 4 hours on 2
#                                                 cores
#   bash launch/reference.sh photograph [--out DIR] [--grid DIR]
#                                       [--portraits DIR]
#                                                 the part of `train` that makes
#                                                 the bundle `photograph`
#
# --grid (or GRID=DIR): a folder that holds the GRID corpus's folder s1 with its
# videos, from which lips learn real speech. Other speakers' folders there are
# learned from too. To be had at https://zenodo.org/records/3625687 (s1.zip) and
# https://spandh.dcs.shef.ac.uk/gridcorpus, under CC BY 4.0. Without it lips
# learn from drawn people alone, and hardly follow a real voice.
#
# --portraits (or PORTRAITS=DIR): a folder of pictures of people who smile, one
# person each, from which teeth are learned anew: OUT/photograph/teeth.safetensors
# and the same name with .json, which go into speak_jax/assets. Ours are official
# portraits of members of the US Congress, in the public domain; to be had at
# https://github.com/unitedstates/images. Without it teeth stay the package's.
#
# Every command below goes on where it was stopped, and so does this script.
set -euo pipefail

usage() {
  sed -n '2,29s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

what=""
out=runs/reference
grid="${GRID:-}"
portraits="${PORTRAITS:-}"
while [ $# -gt 0 ]; do
  case "$1" in
    report | train | photograph) what="$1"; shift ;;
    --out) out="${2:?--out needs a folder}"; shift 2 ;;
    --grid) grid="${2:?--grid needs a folder}"; shift 2 ;;
    --portraits) portraits="${2:?--portraits needs a folder}"; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "reference.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done
[ -n "$what" ] || { usage >&2; exit 2; }
# Now, not after hours; and with the folder of today, for what follows moves.
if [ -n "$grid" ] && [ "$what" != report ]; then
  if [ ! -d "$grid/s1" ]; then
    echo "reference.sh: $grid: holds no folder s1 of the GRID corpus" >&2
    exit 2
  fi
  grid="$(cd "$grid" && pwd)"
fi

if [ -n "$portraits" ] && [ "$what" != report ]; then
  if [ ! -d "$portraits" ]; then
    echo "reference.sh: $portraits: no such folder" >&2
    exit 2
  fi
  portraits="$(cd "$portraits" && pwd)"
fi

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
out="$(setup_folder "$out" runs/reference)"
cd "$SPEAK_ROOT"

# People of the two splits do not depend on how many the other has, so a report
# draws its own alone.
draw() {
  python -m data_pipelines.prepare --source synthetic --output "$2" \
    --identities "$1" --held-out 24 --size 96 --framing medium \
    --twins-every 5 --seed 7
}

measure() {
  python -m speak_jax.evaluate --model "$1" --data "$2" --out "$out/report" \
    --clips 48 --swap
}

# What docs/photographs.md says of its training, with the sets' names.
photograph() {
  local run="$1" data attribution=""
  data="$run/drawn"
  python -m data_pipelines.prepare --source synthetic --output "$run/drawn" \
    --identities 120 --clips-per-identity 4 --held-out 12 --size 192 \
    --framing tight --meshes
  if [ -n "$grid" ]; then
    python -m data_pipelines.prepare --source folder --input "$grid" \
      --output "$run/grid" --size 128 --held-out 0
    data="$run/grid,$run/drawn"
    attribution="Lips were learned from the GRID audiovisual sentence corpus \
(M. Cooke, J. Barker, S. Cunningham, X. Shao, 2006), which is licensed under \
CC BY 4.0 (creativecommons.org/licenses/by/4.0). Speech and face points were \
read from its recordings; no picture or sound of it is contained."
  else
    echo "reference.sh: no --grid: lips learn from drawn people alone and will" \
      "hardly follow a real voice; --help says where GRID is to be had" >&2
  fi
  python -m speak_jax.train --config configs/speak.py:photo \
    --config.data.path="$data" --workdir "$run"
  python -m speak_jax.export --workdir "$run" --out "$run/bundle" \
    --attribution "$attribution"
  if [ -n "$portraits" ] && [ ! -f "$run/teeth.safetensors" ]; then
    python -m speak_jax.tools.train_teeth --portraits "$portraits" \
      --out "$run/teeth.safetensors"
  fi
}

if [ "$what" = report ]; then
  draw 1 "$out/held_out"
  measure speak_jax/assets/reference "$out/held_out"
  exit
fi

photograph "$out/photograph"
[ "$what" = train ] || exit 0

# Memory that is given back after each step is paid for page by page at the
# next: keeping it makes a step on the CPU a seventh faster.
export MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_MMAP_THRESHOLD_=100000000000
export MALLOC_TOP_PAD_=4000000000 MALLOC_MMAP_MAX_=0
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1

draw 800 "$out/data"
# Two devices of one core each are faster than one of two.
python -m speak_jax.train --config configs/speak.py:small64 \
  --config.data.path="$out/data" --config.mesh.cpu_devices=2 --workdir "$out"
python -m speak_jax.export --workdir "$out" --out "$out/bundle" --half \
  --evaluation
measure "$out" "$out/data"
