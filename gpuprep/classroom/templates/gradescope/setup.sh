#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the image in which every submission is graded.
# It stops at the first thing that fails: a half-made image would fail each student instead of you.
set -euo pipefail

root="${AUTOGRADER_ROOT:-/autograder}"
source="$root/source"
venv="$root/venv"

say() { printf '\n== %s\n' "$*"; }

# Leaves the name of a Python that gpuprep runs on in $python.
find_python() {
  local name
  for name in python3.13 python3.12 python3.11 python3; do
    if "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python="$name"
      return 0
    fi
  done
  return 1
}

install_packages() {
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

if ! find_python; then
  say "installing Python"
  install_packages python3 python3-venv
  # Ubuntu 22.04's own is 3.10; it has 3.11 beside it.
  find_python || { install_packages python3.11 python3.11-venv && find_python; }
fi

needs_compiler="$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["needs_compiler"])' "$source/settings.json")"
if [ "$needs_compiler" = True ]; then
  # Exercises in CUDA C run in an emulator that g++ builds, 12 or newer.
  compiler="$(g++ -dumpversion 2>/dev/null || echo 0)"
  if [ "${compiler%%.*}" -lt 12 ]; then
    say "installing g++"
    install_packages g++
    compiler="$(g++ -dumpversion)"
    if [ "${compiler%%.*}" -lt 12 ]; then
      install_packages g++-12
      update-alternatives --install /usr/bin/g++ g++ /usr/bin/g++-12 100
    fi
  fi
fi

say "making $venv with $("$python" --version)"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --constraint "$source/constraints.txt")

# First, and from the index of its CPU builds: those that PyPI has are for CUDA, and take gigabytes that are of no use here.
say "installing torch"
"${pip[@]}" --index-url "${TORCH_INDEX_URL:-https://download.pytorch.org/whl/cpu}" --retries 2 torch || {
  say "that index can't be had; taking torch from pip's own"
  "${pip[@]}" torch
}

say "installing gpuprep"
wheels=("$source"/gpuprep-*.whl)
if [ -e "${wheels[0]}" ]; then
  "${pip[@]}" "${wheels[@]}"
else
  "${pip[@]}" gpuprep
fi

# Nothing handed in: that the assignment can be read, that graders load, and how strong the sandbox is here.
say "grading an empty submission"
scratch="$(mktemp -d)"
mkdir "$scratch/nobody"
curriculum=()
if [ -d "$source/curriculum" ]; then
  curriculum=(--curriculum "$source/curriculum")
fi
"$venv/bin/gpuprep" grade "$scratch/nobody" --single --assignment "$source/assignment.yaml" "${curriculum[@]}" \
  --device cpu --out "$scratch/graded"
rm -rf "$scratch"
say "ready"
