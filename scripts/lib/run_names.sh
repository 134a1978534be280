# shellcheck shell=bash
# Sourced by the scripts that run train.py many times: how they fail, and how they name folders.

fail() {
    echo "error: $*" >&2
    exit 2
}

# from_here PATH DEFAULT: PATH as the caller means it; the default lies in the project.
from_here() {
    case "$1" in
        "") echo "$2" ;;
        /*) echo "$1" ;;
        *) echo "$PWD/$1" ;;
    esac
}

# variant CFG [KEY VALUE ...]: the folder of runs, named by CFG and TAG, or else the overrides.
variant() {
    local tag="${TAG:-}" cfg="$1"
    shift
    if [[ -z "$tag" ]]; then
        while (($#)); do
            tag+="_${1##*.}$2"
            shift 2
        done
        tag="${tag#_}"
    fi
    echo "$cfg${tag:+_${tag//[^A-Za-z0-9._-]/-}}"
}
