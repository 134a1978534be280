# shellcheck shell=bash
# Sourced by the other scripts: sets PYTHON to an interpreter that has the requirements.
#
# usage: source scripts/lib/setup_env.sh REQUIREMENTS_FILE
#
# An active virtual or conda environment is used as it is, but for conda's base; without one, .venv
# is made here. A torch that is already there stays as it is: its version is pinned while the rest is
# installed. LMPT_TORCH=cpu takes a missing torch from PyTorch's index of builds without CUDA.

if [[ "${1:-}" == "-h" || "${1:-}" == "--help" ]]; then
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    return 0 2>/dev/null || exit 0 # whether sourced, as it should be, or run
fi

lmpt_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

lmpt_fail() {
    echo "error: $*" >&2
    exit 1
}

lmpt_setup() {
    local requirements="$lmpt_root/$1" started=$SECONDS prefix="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
    if [[ -z "${VIRTUAL_ENV:-}" && "${CONDA_DEFAULT_ENV:-}" == base ]]; then
        echo "== conda's base environment is left alone; .venv is used in its place"
        prefix=""
    fi
    case "${LMPT_TORCH:-default}" in
    cpu | default) ;;
    *) lmpt_fail "LMPT_TORCH must be cpu, or not be set; got $LMPT_TORCH" ;;
    esac
    if [[ -n "$prefix" ]]; then
        PYTHON="$(lmpt_python_of "$prefix")"
        [[ -x "$PYTHON" ]] || lmpt_fail "the active environment $prefix has no $PYTHON"
    else
        PYTHON="$(lmpt_python_of "$lmpt_root/.venv")"
        if [[ ! -x "$PYTHON" ]]; then
            echo "== Making a virtual environment in $lmpt_root/.venv (torch: some GB, minutes)"
            lmpt_check_version python3
            python3 -m venv "$lmpt_root/.venv" ||
                lmpt_fail "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv"
            PYTHON="$(lmpt_python_of "$lmpt_root/.venv")"
        fi
    fi
    lmpt_check_version "$PYTHON"
    echo "== Environment: $("$PYTHON" -c 'import sys; print(sys.prefix)')"

    # Never beside a torch that is there: a torchvision of another build would not load with it.
    if [[ "${LMPT_TORCH:-}" == cpu ]] && ! "$PYTHON" -c \
        'from importlib.metadata import version; version("torch")' 2>/dev/null; then
        "$PYTHON" -m pip install --quiet --disable-pip-version-check \
            "torch>=2.4" "torchvision>=0.19" --index-url https://download.pytorch.org/whl/cpu ||
            lmpt_fail "could not install torch without CUDA from download.pytorch.org"
    fi

    local pins
    pins="$(mktemp)"
    "$PYTHON" - >"$pins" <<'PY'
from importlib.metadata import PackageNotFoundError, version

for name in ("torch", "torchvision"):
    try:
        print(f"{name}=={version(name)}")
    except PackageNotFoundError:
        pass
PY
    "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        --constraint "$pins" --requirement "$requirements" ||
        lmpt_fail "could not install $requirements (kept as found: $(tr '\n' ' ' <"$pins"))"
    rm -f "$pins"
    lmpt_setup_seconds=$((SECONDS - started))
    echo "== Requirements are there (${lmpt_setup_seconds} s)"
}

lmpt_python_of() { # of an environment: on Windows venv and conda have it elsewhere
    local path
    for path in "$1/Scripts/python.exe" "$1/python.exe"; do
        if [[ -x "$path" ]]; then
            echo "$path"
            return
        fi
    done
    echo "$1/bin/python"
}

lmpt_check_version() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
        lmpt_fail "Python 3.10 or newer is needed, $1 is $("$1" --version 2>&1)"
}

lmpt_setup "$1"
