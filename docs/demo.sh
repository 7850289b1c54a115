#!/usr/bin/env bash
# A learner's first session in half a minute, graded for real: the stub, a kernel without a mask, and the reference.
# Every exit code and every verdict is held against what must come, so this ends with 0 only where grading works.
set -euo pipefail

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Not inside the checkout: the curriculum's own folder can't be a workspace.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/gpuprep-demo.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
said=$scratch/said

note() { printf '\n# %s\n' "$@"; }

# A command as a terminal shows it.
show() { printf '\n$ %s\n' "${*/#$checkout/gpuprep}"; }

# run EXIT_CODE WORD COMMAND...: show the command, run it, and insist on what comes of it.
run() {
  local wanted=$1 word=$2 code=0
  shift 2
  show "$@"
  # One pipe: a learner sees both streams in their order.
  "$@" 2>&1 | tee "$said" || code=${PIPESTATUS[0]}
  if [[ $code -ne $wanted ]]; then
    echo "demo: exit code $code, expected $wanted" >&2
    exit 1
  fi
  if ! grep -Eq -- "$word" "$said"; then
    echo "demo: the output lacks $word" >&2
    exit 1
  fi
}

# put FILE: what a learner would have written, in place of the stub.
put() {
  show cp "$checkout/$1" "$solution"
  cp "$checkout/$1" "$solution"
}

solution=exercises/00_foundations/ex_01_vector_add.py

cd "$scratch"
note "A workspace is a folder with a stub for every exercise."
run 0 Welcome gpuprep init gym
cd gym
run 0 ex_01 gpuprep next

note "Nothing is written yet, and the grader says so instead of failing it."
run 1 NOT_STARTED gpuprep check ex_01

note "Everybody's first kernel: it has no mask, and nobody noticed at multiples of 1024."
put tests/wrong/ex_01_vector_add/no_mask.py
run 1 OUT_OF_BOUNDS gpuprep check ex_01

note "The reference. Where there is no GPU its speed can't be graded, and the pass says that it is provisional."
put reference/00_foundations/ex_01_vector_add.py
run 0 'PASSED|PROVISIONAL' gpuprep check ex_01
run 0 Foundations gpuprep progress

note "All of it was real. Your turn: source .venv/bin/activate && gpuprep init ~/gym"
