#!/usr/bin/env bash
# The reference model that comes with the package: measured or trained anew.
#
#   bash launch/reference.sh report [--out DIR]   its held-out people are drawn
#                                                 and it is measured: 9 minutes
#   bash launch/reference.sh train [--out DIR]    data, training, bundle, report:
#                                                 some 3 hours on 2 cores
#
# Every command below goes on where it was stopped, and so does this script.
set -euo pipefail

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

what=""
out=runs/reference
while [ $# -gt 0 ]; do
  case "$1" in
    report | train) what="$1"; shift ;;
    --out) out="${2:?--out needs a folder}"; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "reference.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done
[ -n "$what" ] || { usage >&2; exit 2; }

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

if [ "$what" = report ]; then
  draw 1 "$out/held_out"
  measure speak_jax/assets/reference "$out/held_out"
  exit
fi

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
