#!/usr/bin/env bash
# Makes the virtual environment `dataloadenv` beside this script and installs shardwright into it.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
env_dir=$here/dataloadenv

usage() {
  cat <<HELP
Usage: bash setup_local.sh [--dev] [--extras NAMES] [--python PYTHON]

Makes the virtual environment dataloadenv beside this script and installs shardwright
into it in editable mode. A second run with nothing to do takes a moment only.

  --dev             also install what the tests and linters need
  --extras NAMES    also install these extras of pyproject.toml, comma-separated (e.g. bench,tf)
  --python PYTHON   the Python (3.11 or newer) to build the environment with;
                    default: the first fitting one of python3, python3.14, python3.13, python3.12, python3.11
                    (an environment that is already there keeps its own)
  -h, --help        show this text

To begin afresh: rm -r dataloadenv
HELP
}

die() {
  printf 'setup_local.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

extras="" python=""
while (($#)); do
  case $1 in
    --dev) extras+=,dev ;;
    --extras | --python)
      (($# > 1)) || die "$1 needs a value; see --help" 2
      if [[ $1 == --extras ]]; then extras+=,$2; else python=$2; fi
      shift ;;
    -h | --help) usage; exit 0 ;;
    *) die "unknown option '$1'; see --help" 2 ;;
  esac
  shift
done
extras=${extras#,}

# Prints the version, and succeeds from 3.11 on. Also runs under a Python 2.
version_check='import sys; print(".".join(map(str, sys.version_info[:3]))); sys.exit(sys.version_info < (3, 11))'

find_python() {
  local candidate version found=""
  for candidate in "$@"; do
    if version=$("$candidate" -c "$version_check" 2>/dev/null); then
      printf '%s\n' "$candidate"
      return
    fi
    found+=" $candidate (${version:-cannot be run})"
  done
  die "needs Python 3.11 or newer; tried:$found. Install one, or name it: bash setup_local.sh --python /path/to/python3.11"
}

make_environment() {
  local base
  if [[ -n $python ]]; then
    base=$(find_python "$python")
  else
    base=$(find_python python3 python3.14 python3.13 python3.12 python3.11)
  fi
  # Debian ships Python without ensurepip, and then leaves half an environment behind.
  "$base" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$base cannot make virtual environments; on Debian or Ubuntu: sudo apt-get install python3-venv"
  echo "Making $env_dir with $base ..."
  "$base" -m venv --clear "$env_dir"
}

install_library() {
  # The first line says which project is installed, the others name the extras.
  local done_file=$env_dir/.installed project extra todo=""
  project="$here $(cksum <"$here/pyproject.toml")"
  if [[ ! -f $done_file || $(head -n 1 "$done_file") != "$project" ]]; then
    rm -f -- "$done_file"
    todo=yes
  fi
  for extra in ${extras//,/ }; do
    grep -qxF -- "$extra" "$done_file" 2>/dev/null || todo=yes
  done
  [[ -n $todo ]] || return 0

  echo "Installing shardwright${extras:+[$extras]} (PyTorch alone is several GB: this can take minutes) ..."
  "$env_python" -m pip install --disable-pip-version-check --editable "$here${extras:+[$extras]}"
  (cd / && "$env_python" -c 'import shardwright.base.errors') ||
    die "installed, but shardwright.base cannot be imported; begin afresh: rm -r '$env_dir'"
  [[ -f $done_file ]] || echo "$project" >"$done_file"
  [[ -z $extras ]] || tr , '\n' <<<"$extras" >>"$done_file"
}

env_python=$env_dir/bin/python
"$env_python" -m pip --version >/dev/null 2>&1 || make_environment
install_library

cat <<NEXT

shardwright is installed in $env_dir. Next:
  source $env_dir/bin/activate
  shardwright --help                      the command line
  python examples/caltech256/run.py       convert a small dataset into all formats
  python -m pytest                        the tests (after: bash setup_local.sh --dev)

NEXT
