#!/usr/bin/env bash
# Training on the hosts of a TPU VM, the same command on each.
#
#   bash launch/tpu_vm.sh NAME ZONE python -m speak_jax.train \
#     --config configs/speak.py --config.data.path=DATA --workdir RUN
#
# Every host has this checkout in $SPEAK_HOME (speak-jax) with its environment and
# the extra `tpu`, and RUN and DATA on a disk that all of them see. JAX learns from
# the TPU's own metadata who is who. The notice of a spot host is SIGTERM: all save
# at the same step and end with 42. Each host starts again after 42, 43 and a
# crash; they meet anew, and training itself gives up after three starts in vain.
set -euo pipefail

usage() {
  sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

case "${1:-}" in -h | --help) usage; exit 0 ;; esac
[ $# -ge 3 ] || { usage >&2; exit 2; }
name="$1"
zone="$2"
shift 2

# shellcheck disable=SC2016
loop='cd "$1" && shift && . .venv/bin/activate
while :; do
  code=0
  "$@" --distributed || code=$?
  if [ "$code" != 42 ] && [ "$code" != 43 ] && [ "$code" -lt 128 ]; then
    exit "$code"
  fi
  echo "tpu_vm.sh: ended with $code; again in ${SPEAK_WAIT:-10} s" >&2
  sleep "${SPEAK_WAIT:-10}"
done'
printf -v remote '%q ' bash -c "$loop" host "${SPEAK_HOME:-speak-jax}" "$@"

exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="$remote"
