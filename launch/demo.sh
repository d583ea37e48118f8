#!/usr/bin/env bash
# From a machine with nothing but Python to a talking head, on a CPU.
#
#   bash launch/demo.sh [--seed S] [--out DIR]
#
# Every command below goes on where it was stopped, and so does this script.
set -euo pipefail

usage() {
  sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

seed=0
out=runs/demo
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) seed="${2:?--seed needs a number}"; shift 2 ;;
    --out) out="${2:?--out needs a folder}"; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "demo.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done
case "$seed" in
  '' | *[!0-9]*) echo "demo.sh: --seed $seed is not a number" >&2; exit 2 ;;
esac

source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
out="$(setup_folder "$out" runs/demo)"
cd "$SPEAK_ROOT"

step() {
  printf '\n[%s, %d min %02d s] %s\n' \
    "$1" $((SECONDS / 60)) $((SECONDS % 60)) "$2"
}

cat <<TEXT

The demo first makes a video with the package's own model 'reference'. Then it
draws a data set of synthetic people, trains the three stages on it at 64 px,
evaluates them on people left out of the training, exports a bundle and makes
the same video with that. It takes about 14 minutes on 2 cores and shows that
the pipeline works; its own pictures are as good as minutes on a CPU allow.
Everything goes to $out. Stop it at any time; the same command goes on.
TEXT
SECONDS=0

# speak VIDEO SHEET [flags]: the four inputs, which no training has seen.
speak() {
  local video="$1" sheet="$2"
  shift 2
  python -m speak_jax.generate --identity "$out/inputs/identity.png" \
    --audio "$out/inputs/speech.wav" --pose "$out/inputs/pose.mp4" \
    --emotion "$out/inputs/emotion.mp4" -o "$video" --sheet "$sheet" \
    --size 256 ${1+"$@"}
}

step 1/5 "look first: the package's own model 'reference'"
python -m data_pipelines.synthetic.demo_inputs --seed "$seed" --out "$out/inputs"
speak "$out/first.mp4" "$out/first.png" --model reference
echo "look at $out/first.mp4 and $out/first.png while the rest runs"

step 2/5 "data and training: synthetic faces, then SyncNet, IRFD, SPEAK"
python -m speak_jax.train --config "configs/speak.py:demo,seed=$seed" \
  --workdir "$out"

step 3/5 "evaluation on held-out people"
python -m speak_jax.evaluate --model "$out" --data "$out/data" \
  --out "$out/report"

step 4/5 "export of the bundle"
python -m speak_jax.export --workdir "$out" --out "$out/bundle"

step 5/5 "the same inputs again, with what was trained here"
speak "$out/sample.mp4" "$out/sample.png" --model "$out/bundle"
python -m data_pipelines.inspect "$out/data" --sheet "$out/faces.png"

step "done" "look at these"
cat <<TEXT
  $out/first.mp4            a held-out person, someone else's speech and pose,
                            by the package's own model 'reference'
  $out/sample.mp4           the same by the one that was trained here
  $out/sample.png           some of its frames beside the inputs
  $out/inputs/              the four inputs that it was made from
  $out/report/report.md     figures beside the ground truth and a still frame
  $out/faces.png            people of the data set
  $out/*/samples/           what each stage saw as it learned

Next:
  tensorboard --logdir $out           (pip install tensorboard)
  bash launch/demo.sh --seed 1 --out runs/demo1
  python -m data_pipelines.prepare --source folder --input VIDEOS --output DATA
  python -m speak_jax.train --config configs/speak.py:small64 \\
    --config.data.path=DATA --workdir runs/mine
TEXT
