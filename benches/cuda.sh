#!/usr/bin/env bash
# What only a machine with an NVIDIA card can say, in one run: the tests of the kernels on the card, the
# memory checker, and times of losses and training steps beside PyTorch's on the same card.
#
#   benches/cuda.sh [FOLDER]        results go to FOLDER, without it to benches/results
#
# VIEWMAKER names the program (target/release/viewmaker is built without it), KERNEL_TESTS a test program
# of crates/ops where there is no cargo, PYTHON a Python with PyTorch for CUDA, LOSSES the contrastive
# losses, SIZES the numbers of embeddings, BATCHES those of examples, CONFIG the configuration of steps.
set -uo pipefail
cd "$(dirname "$0")/.."
out="${1:-benches/results}"
losses="${LOSSES:-ntxent}"
sizes="${SIZES:-8192,32768,131072}"
batches="${BATCHES:-256,512}"
config="${CONFIG:-configs/cifar10.toml}"
python="${PYTHON:-python3}"
mkdir -p "$out"

if [ -z "${VIEWMAKER:-}" ]; then
  cargo build --release --locked -p viewmaker || exit 1
  VIEWMAKER=target/release/viewmaker
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/card.txt"
date -u +%Y-%m-%d >>"$out/card.txt"

failed=0
# What is announced must not end up in a file of results.
step() {
  echo "== $*" >&2
  "$@" || { echo "failed: $*" >&2; failed=1; }
}

# Without a C++ compiler on the path the emulator steps aside, and only the card is tested.
on_card() { PATH=/nonexistent "$@"; }
if [ -n "${KERNEL_TESTS:-}" ]; then
  step on_card "$KERNEL_TESTS" cuda_ --nocapture
  if command -v compute-sanitizer >/dev/null; then
    step compute-sanitizer --error-exitcode 1 "$KERNEL_TESTS" cuda_kernels_conform
  else
    echo "memory checker: skipped, there is no compute-sanitizer"
  fi
elif command -v cargo >/dev/null; then
  step cargo test --release --locked -- cuda
else
  echo "tests: skipped, there is neither cargo nor KERNEL_TESTS"
fi

step "$VIEWMAKER" bench loss --device cuda --objective "$losses" --embeddings "$sizes" --json \
  >"$out/cuda-loss.json"
# One line a measurement; those of an earlier run stay in nobody's way.
rm -f "$out/cuda-conv.jsonl" "$out/cuda-step.jsonl"
for batch in ${batches//,/ }; do
  step "$VIEWMAKER" bench conv --config "$config" --device cuda --json \
    --set train.batch_size="$batch" >>"$out/cuda-conv.jsonl"
  for precision in f32 tf32 bf16; do
    step "$VIEWMAKER" bench step --config "$config" --device cuda --json \
      --set train.batch_size="$batch" --set precision="$precision" >>"$out/cuda-step.jsonl"
  done
done
step "$VIEWMAKER" train --config "$config" --device cuda --set precision=bf16 --steps 12 \
  --profile --out "$(mktemp -d)/run" >"$out/cuda-profile.txt"

if "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  step "$python" benches/peer/on_card.py step "$batches" >"$out/cuda-step-pytorch.jsonl"
  step "$python" benches/peer/on_card.py loss "$sizes" "$losses" >"$out/cuda-loss-pytorch.jsonl"
else
  echo "PyTorch: skipped, $python has none that sees the card"
fi
exit "$failed"
