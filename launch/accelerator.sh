#!/usr/bin/env bash
# What a machine's GPU or TPU does with this code: the most telling parts first,
# for a device that is lent for minutes.
#
#   bash launch/accelerator.sh [--out DIR] [--minutes M] [--extra NAME]
#
# --out DIR      OUT, runs/accelerator unless it is said
# --minutes M    for all parts together, set-up excluded; 10 unless it is said
# --extra NAME   of the wheels: cuda (CUDA 13, unless it is said), cuda12, tpu
#
# The parts, in this order; each leaves OUT/PART.log, and is not done again:
#   devices    JAX names a device that is no CPU; else nothing else is tried
#   smoke      all stages of `demo`, a few steps, to checkpoints and a video
#   small64    speak bench: seconds a step, FLOP/s, MFU, memory of the device
#   base256    the same of the paper's size
#   videos     speak bench: networks, reference, photograph, streaming
#   learning   `small64` is trained for the time that is left, in OUT/run
# OUT/parts.txt says of each how it ended and after how many seconds. Exit code
# 3 if one failed. docs/hardware.md says what to read in it.
set -euo pipefail

usage() {
  sed -n '2,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

out=runs/accelerator
minutes=10
extra=cuda
while [ $# -gt 0 ]; do
  case "$1" in
    --out) out="${2:?--out needs a folder}"; shift 2 ;;
    --minutes) minutes="${2:?--minutes needs a whole number}"; shift 2 ;;
    --extra) extra="${2:?--extra needs a name}"; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "accelerator.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done
case "$minutes" in
  "" | *[!0-9]*)
    echo "accelerator.sh: --minutes $minutes: not a whole number" >&2
    exit 2
    ;;
esac

export SPEAK_EXTRAS="$extra"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
out="$(setup_folder "$out" runs/accelerator)"
mkdir -p "$out"
cd "$SPEAK_ROOT"

ends=$((SECONDS + 60 * minutes))
failed=0

# Runs a part in the time that is left, unless it is done. "learning" may be cut
# off by the time; so may no other.
part() {
  local name="$1" begun="$SECONDS" left=$((ends - SECONDS)) code=0 end
  shift
  [ ! -f "$out/$name.done" ] || return 0
  if [ "$left" -le 0 ]; then
    echo "$name: no time left" | tee -a "$out/parts.txt"
    failed=3
    return 0
  fi
  echo "$name: begins, $left s left"
  timeout "$left" "$@" >"$out/$name.log" 2>&1 || code=$?
  end="failed, exit code $code: $out/$name.log"
  if [ "$code" -eq 124 ]; then
    end="time was up"
  fi
  if [ "$code" -eq 0 ]; then
    end="done"
    touch "$out/$name.done"
  elif [ "$code" -ne 124 ] || [ "$name" != learning ]; then
    failed=3
  fi
  echo "$name: $end, $((SECONDS - begun)) s" | tee -a "$out/parts.txt"
}

bench() {
  local name="$1" subjects="$2"
  shift 2
  part "$name" python -m speak_jax.bench --subjects "$subjects" --runs 1 \
    --json "$out/$name.json" "$@"
}

part devices python -c '
import jax
for device in jax.devices():
    print(device.device_kind, device.memory_stats())
    assert device.platform != "cpu", "JAX sees nothing but a CPU"
'
[ -f "$out/devices.done" ] || exit 3
part smoke python -m speak_jax.train --workdir "$out/smoke" --config \
  configs/speak.py:demo,syncnet.steps=4,irfd.steps=4,speak.steps=4,data.synthetic.identities=4,data.synthetic.held_out=2
bench small64 training --preset small64
bench base256 training --preset base256 --quick
bench videos networks,reference,photograph,streaming --preset small64 --quick
part learning python -m speak_jax.train --workdir "$out/run" \
  --config configs/speak.py:small64
exit "$failed"
