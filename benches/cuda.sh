#!/usr/bin/env bash
# What only a machine with an NVIDIA card can say, in one call of ten minutes at most: the tests of the
# kernels on the card, times of losses, training steps and layers beside PyTorch's on the same card, a
# profile, and the memory checker.
#
#   benches/cuda.sh [FOLDER]        results go to FOLDER, without it to benches/results
#
# PARTS     what to do, in this order: tests loss step torch conv profile sanitizer (all of them without it)
# BUDGET    seconds for everything after the builds (560 without it); every part may take a share of them
# VIEWMAKER the program; without it cargo builds target/release/viewmaker
# KERNEL_TESTS  test programs with spaces between them, the most basic ones first; without it cargo's
# PYTHON    a Python with PyTorch for CUDA (python3 without it)
# LOSSES, SIZES, BATCHES   contrastive losses, numbers of embeddings and of examples, with commas between them
# CONFIG    the configuration of steps, layers and profile (configs/cifar10.toml without it)
#
# Relative paths count from where the script is called. A part that fails or runs out of time does not stop
# the others; the end names it, and the exit status is 1. benches/README.md says what to carry to a machine
# without Rust.
set -uo pipefail
exec 3>&2 # messages, also where a command's errors go to a file

# --- What was asked for -----------------------------------------------------------------------------------

absolute() { case "$1" in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac }
with_slash() { case "$1" in */*) absolute "$1" ;; *) echo "$1" ;; esac }

home="$(cd "$(dirname "$0")/.." && pwd)"
out="$(absolute "${1:-$home/benches/results}")"
config="$(absolute "${CONFIG:-$home/configs/cifar10.toml}")"
python="$(with_slash "${PYTHON:-python3}")"
viewmaker="${VIEWMAKER:+$(absolute "$VIEWMAKER")}"
programs=()
for program in ${KERNEL_TESTS:-}; do programs+=("$(absolute "$program")"); done
losses="${LOSSES:-ntxent}"
sizes="${SIZES:-8192,32768,131072}"
batches="${BATCHES:-256,512}"
budget="${BUDGET:-560}"
parts="${PARTS:-tests loss step torch conv profile sanitizer}"
# Per cent of the budget that a part may take; all end when the budget does.
declare -A share=([start]=25 [tests]=25 [loss]=12 [step]=16 [torch]=30 [conv]=10 [profile]=6 [sanitizer]=16)
for part in $parts; do
  if [ "$part" = start ] || [ -z "${share[$part]:-}" ]; then
    echo "PARTS: unknown part $part: expected tests, loss, step, torch, conv, profile or sanitizer" >&2
    exit 2
  fi
done
asked() { case " $parts " in *" $1 "*) true ;; *) false ;; esac }

cd "$home" || exit 1
mkdir -p "$out" || exit 1

# --- Programs ---------------------------------------------------------------------------------------------

if [ -z "$viewmaker" ]; then
  cargo build --release --locked -p viewmaker || exit 1
  viewmaker="${CARGO_TARGET_DIR:-target}/release/viewmaker"
fi
if [ ${#programs[@]} -eq 0 ] && { asked tests || asked sanitizer; } && command -v cargo >/dev/null; then
  log="$out/cuda-tests-build.txt"
  cargo test --release --locked --no-run 2>&1 | tee "$log" >&2 || exit 1
  mapfile -t programs < <(sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$log")
fi

# Kernels that one part compiles serve the others, and a second call on the same machine.
if [ -z "${XDG_CACHE_HOME:-}" ]; then
  XDG_CACHE_HOME="${TMPDIR:-/tmp}/viewmaker-cuda-$(id -u)"
  mkdir -p -m 700 "$XDG_CACHE_HOME" && [ -O "$XDG_CACHE_HOME" ] || XDG_CACHE_HOME="$(mktemp -d)"
  export XDG_CACHE_HOME
fi

# PyTorch brings NVRTC along in a folder that the loader does not know. It loads a second file from there at
# its first compilation, so that the folder must be named, behind those that are.
nvrtc="$("$python" - 2>/dev/null <<'END'
import glob, os, sys
places = [p for root in sys.path for p in glob.glob(os.path.join(root, "nvidia", "*", "lib", "libnvrtc.so*"))]
print(":".join(dict.fromkeys(os.path.dirname(place) for place in sorted(places))))
END
)"
for folder in "$nvrtc" /usr/local/cuda/lib64; do
  [ -n "$folder" ] && export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder"
done

# --- Time, and what went wrong ----------------------------------------------------------------------------

SECONDS=0
failures=() skipped=() took=()
say() { echo "== $*" >&3; }
fails() { failures+=("$part: $*"); echo "failed: $part: $*" >&3; }
skips() { skipped+=("$part: $*"); echo "skipped: $part: $*" >&3; }

begin() {
  part="$1" begun=$SECONDS
  deadline=$((SECONDS + budget * share[$part] / 100))
  ((deadline <= budget)) || deadline=$budget
}
end() { took+=("$part $((SECONDS - begun)) s"); }

# within COMMAND…: in what is left of the part's time. Nothing that is said here ends up among results.
within() {
  local left=$((deadline - SECONDS)) code
  say "$part, ${left} s left: $*"
  if ((left <= 0)); then fails "no time left for $*"; return 124; fi
  timeout -k 5 "$left" "$@"
  code=$?
  case $code in
    0) ;;
    124 | 137) fails "stopped after $left s: $*" ;;
    *) fails "exit status $code: $*" ;;
  esac
  return $code
}

# --- Parts ------------------------------------------------------------------------------------------------

# Only the card is tested, and a test must not pass because there is none.
on_card=(env VIEWMAKER_EMULATOR=off VIEWMAKER_TESTS_NEED_CARD=1)
conformance=conformance::on_device::cuda_kernels_conform

# Names of tests that failed, from what a test program said.
failed_tests() { sed -n '/^failures:$/,/^test result/s/^    \([^ ]*\)$/\1/p' "$1" | sort -u; }

# again PROGRAM LOG: a kernel that reads where it must not breaks the context that all tests of the process
# share, so those that failed get a process each; after a crash nobody knows which these are.
again() {
  local program="$1" log="$2" test failed
  tail -n 25 "$log" >&3
  mapfile -t failed < <(failed_tests "$log")
  for test in "${failed[@]}"; do
    within "${on_card[@]}" "$program" --exact "$test" --nocapture >"${log%.txt}-${test//:/-}.txt" 2>&1 \
      && say "$test passes alone"
  done
  [ ${#failed[@]} -gt 0 ] || within "${on_card[@]}" "$program" cuda_ --nocapture --test-threads=1 \
    >"${log%.txt}-one-by-one.txt" 2>&1
}

run_tests() {
  local program log passed=0 count code
  if [ ${#programs[@]} -eq 0 ]; then skips "there is neither cargo nor KERNEL_TESTS"; return; fi
  for program in "${programs[@]}"; do
    log="$out/cuda-tests-$(basename "$program").txt"
    within "${on_card[@]}" "$program" cuda_ --nocapture >"$log" 2>&1
    code=$?
    case $code in 0 | 124 | 137) ;; *) again "$program" "$log" ;; esac
    count="$(sed -n 's/^test result: .* \([0-9][0-9]*\) passed.*/\1/p' "$log" | head -n 1)"
    passed=$((passed + ${count:-0}))
    say "$(basename "$program"): ${count:-0} tests passed"
  done
  ((passed > 0)) || fails "no test passed"
}

run_loss() {
  within "$viewmaker" bench loss --device cuda --objective "$losses" --embeddings "$sizes" --json \
    >"$out/cuda-loss.jsonl"
}

run_step() {
  local batch precision
  : >"$out/cuda-step.jsonl"
  for precision in bf16 tf32 f32; do
    for batch in ${batches//,/ }; do
      within "$viewmaker" bench step --config "$config" --device cuda --json \
        --set train.batch_size="$batch" --set precision="$precision" >>"$out/cuda-step.jsonl"
    done
  done
}

run_torch() {
  local find='import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'
  if ! "$python" -c "$find" 2>/dev/null; then skips "$python has no PyTorch"; return; fi
  # What must be compiled comes last: it takes minutes.
  within "$python" benches/peer/on_card.py step "$batches" --mode eager >"$out/cuda-step-pytorch.jsonl"
  within "$python" benches/peer/on_card.py loss "$sizes" "$losses" >"$out/cuda-loss-pytorch.jsonl"
  within "$python" benches/peer/on_card.py step "$batches" --mode compiled >>"$out/cuda-step-pytorch.jsonl"
}

run_conv() {
  local batch
  : >"$out/cuda-conv.jsonl"
  for batch in ${batches//,/ }; do
    within "$viewmaker" bench conv --config "$config" --device cuda --json \
      --set train.batch_size="$batch" >>"$out/cuda-conv.jsonl"
  done
}

run_profile() {
  within "$viewmaker" train --config "$config" --device cuda --set precision=bf16 --steps 12 \
    --profile --out "$(mktemp -d)/run" >"$out/cuda-profile.txt"
}

run_sanitizer() {
  local program checker log="$out/cuda-sanitizer.txt"
  checker="$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -n 1)"
  if [ -z "$checker" ]; then skips "there is no compute-sanitizer"; return; fi
  for program in "${programs[@]}"; do
    if "$program" --list 2>/dev/null | grep -qx "$conformance: test"; then
      within "${on_card[@]}" "$checker" --error-exitcode 1 "$program" --exact "$conformance" --nocapture \
        >"$log" 2>&1
      tail -n 5 "$log" >&3
      return
    fi
  done
  skips "no test program has $conformance (that of crates/ops has)"
}

# --- All of it --------------------------------------------------------------------------------------------

{
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader \
    || echo "no nvidia-smi"
  date -u +%Y-%m-%d
} 2>/dev/null | tee "$out/card.txt" >&3

# Without a driver, its compiler and a kernel that runs, nothing below makes sense.
begin start
if ! within "$viewmaker" bench loss --device cuda --embeddings 64 --repeats 1 --objective ntxent >&3; then
  echo "benches/cuda.sh: the program cannot use the card; LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}" >&2
  exit 1
fi
# Compiles every kernel at once, on all cores; later parts would do so one after the other.
within "$viewmaker" bench step --modality image --device cuda --shape 3,8,8 --repeats 1 \
  --set encoder.name=tiny --set train.batch_size=4 --set viewmaker.widths='[4, 4, 4]' >&3
end
for part in $parts; do
  begin "$part"
  "run_$part"
  end
done

{
  printf 'took: '
  printf '%s, ' "${took[@]}"
  echo "$SECONDS s of $budget s in all"
  for line in "${skipped[@]}"; do echo "skipped: $line"; done
  for line in "${failures[@]}"; do echo "failed: $line"; done
} | tee "$out/cuda-parts.txt" >&3
[ ${#failures[@]} -eq 0 ]
