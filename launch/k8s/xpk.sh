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
# IMAGE is launch/Dockerfile with EXTRA=tpu. xpk starts a workload again after
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

name="" cluster="" project="" zone="" tpu_type="" slices=1 image=""
while [ $# -gt 0 ]; do
  case "$1" in
    --name | --cluster | --project | --zone | --tpu-type | --slices | --image)
      [ -n "${2:-}" ] || fail "$1 needs a value"
      ;;
  esac
  case "$1" in
    --name) name="$2"; shift 2 ;;
    --cluster) cluster="$2"; shift 2 ;;
    --project) project="$2"; shift 2 ;;
    --zone) zone="$2"; shift 2 ;;
    --tpu-type) tpu_type="$2"; shift 2 ;;
    --slices) slices="$2"; shift 2 ;;
    --image) image="$2"; shift 2 ;;
    --) shift; break ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown argument $1" ;;
  esac
done
[ -n "$name" ] || fail "--name is missing"
[ -n "$cluster" ] || fail "--cluster is missing"
[ -n "$project" ] || fail "--project is missing"
[ -n "$zone" ] || fail "--zone is missing"
[ -n "$tpu_type" ] || fail "--tpu-type is missing"
[ -n "$image" ] || fail "--image is missing"
[ $# -gt 0 ] || fail "no command"
printf -v command '%q ' "$@" --distributed

exec xpk workload create --workload "$name" --cluster "$cluster" \
  --project "$project" --zone "$zone" --tpu-type "$tpu_type" \
  --num-slices "$slices" --docker-image "$image" \
  --max-restarts 10 --restart-on-exit-codes 43 \
  --termination-grace-period-seconds 120 --command "exec $command"
