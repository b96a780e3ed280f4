#!/usr/bin/env bash
# Loads environment modules with `ml`, then does what setup_local.sh does; takes the same options.

# --- for your cluster: `ml avail` lists the names; more modules are separated by blanks ---
MODULES=${MODULES-Python/3.11.5}  # a bare Python is enough: pip brings PyTorch with its CUDA libraries
PYTHON=${PYTHON-python3}          # the Python that these modules put on PATH
# -------------------------------------------------------------------------------------------

set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

die() {
  printf 'setup_cluster.sh: %s\n' "$1" >&2
  exit 1
}

# `ml` is a shell function, which a script does not inherit on every cluster.
find_ml() {
  local init
  for init in "${LMOD_PKG:-/nowhere}/init/bash" /etc/profile.d/*lmod*.sh /etc/profile.d/*modules*.sh; do
    type ml >/dev/null 2>&1 && return
    # shellcheck source=/dev/null
    [[ ! -r $init ]] || . "$init"
  done
  type ml >/dev/null 2>&1
}

if [[ " $* " != *" --help "* && " $* " != *" -h "* ]]; then
  set +u # module systems use unset variables
  find_ml || die "found no command 'ml'; log in to a node that has it, or run: bash setup_local.sh --python /path/to/python3.11"
  read -ra modules <<<"$MODULES"
  for module in "${modules[@]}"; do
    ml "$module" || die "'ml $module' failed; put a name that 'ml avail' lists into MODULES at the top of this file"
  done
  set -u
  echo "Loaded: $MODULES. Load the same modules in your job scripts: ml $MODULES"
fi

exec bash "$here/setup_local.sh" --python "$PYTHON" "$@"
