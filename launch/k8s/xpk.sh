#!/usr/bin/env bash
# Training on a GKE cluster through xpk, which makes the JobSet itself.
#
#   bash launch/k8s/xpk.sh --name speak --cluster C --project P --zone Z \
#     --tpu-type v5litepod-64 [--slices 1] --image IMAGE -- python -m \
#     speak_jax.train --config configs/speak.py --config.data.path=/speak/data \
#     --workdir /speak/runs/speak
#
# /speak is a volume that all pods may write, mounted in each: attach it to the
# cluster before, with `xpk storage attach` and its --auto-mount. gs://... is no
# folder, and refused; docs/launch.md says which volumes serve.
# IMAGE is the tpu target of launch/Dockerfile. xpk starts a workload again after
# 42 and 127 to 255 by itself; 43 is added here, and 1 and 64 to 68 stay final.
set -euo pipefail

usage() {
  sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

fail() {
  echo "xpk.sh: $*" >&2
  usage >&2
  exit 2
}

declare -A given=([--slices]=1)
while [ $# -gt 0 ]; do
  case "$1" in
    --name | --cluster | --project | --zone | --tpu-type | --slices | --image)
      given["$1"]="${2:?$1 needs a value}"
      shift 2
      ;;
    --) shift; break ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown argument $1" ;;
  esac
done
for flag in --name --cluster --project --zone --tpu-type --image; do
  [ -n "${given[$flag]:-}" ] || fail "$flag is missing"
done
[ $# -gt 0 ] || fail "no command"
printf -v command '%q ' "$@" --distributed

exec xpk workload create --workload "${given[--name]}" \
  --cluster "${given[--cluster]}" --project "${given[--project]}" \
  --zone "${given[--zone]}" --tpu-type "${given[--tpu-type]}" \
  --num-slices "${given[--slices]}" --docker-image "${given[--image]}" \
  --max-restarts 10 --restart-on-exit-codes 43 \
  --termination-grace-period-seconds 120 --command "exec $command"
