#!/usr/bin/env bash
# Write a Slurm job of many runs, an array task for each, and hand it in with --submit.
#
# usage: bash scripts/slurm_array.sh [OPTIONS] -- COMMAND
#        e.g. bash scripts/slurm_array.sh --time 2:00:00 --gpus 1 --cpus 8 --submit -- \
#                 bash scripts/compare.sh voc_lt rn50 "CoOp LMPT" "1 2 3"
#
# COMMAND is compare.sh or another script that lists its runs with DRY_RUN=1: each that has not
# finished is a task. Or it is `python train.py ...`, one task; or, with --workers, a command that
# shares its work with others of its kind: `python scripts/sweep.py ...`. The same COMMAND without
# Slurm prints the table when the tasks have ended; runs that failed are tasks of the next job.
#
# options, of one run:
#   --gpus N          GPUs on each machine (0), or TYPE:N
#   --cpus N          cores on each machine (1)
#   --memory M        memory on each machine, such as 16G
#   --time T          longest time, such as 2:00:00 or 1-12:00:00
#   --nodes N         machines (1)
#   --ranks N         processes on each machine (one for each GPU); torchrun starts more than one
# of the job:
#   --partition P, --account A, --name NAME    as sbatch has them
#   --at-once N       most tasks at a time
#   --workers N       as many tasks, each of them COMMAND itself
#   --no-requeue      a task whose machine is lost or wanted by others does not start again
#   --sbatch "WORDS"  further options of sbatch
#   --folder DIR      of the job's files (output/slurm/<date>-<time>)
#   --submit          hand it in
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
case "${1:-}" in -h | --help)
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0 ;;
esac
# shellcheck source=scripts/lib/run_names.sh
source "$root/scripts/lib/run_names.sh"

gpus=0 cpus=1 memory="" limit="" nodes=1 ranks="" partition="" account="" name=lmpt at_once=""
workers="" requeue=requeue more="" folder="$root/output/slurm/$(date +%Y%m%d-%H%M%S)" submit=""
known="--gpus --cpus --memory --time --nodes --ranks --partition --account --name --at-once --workers"
known+=" --no-requeue --sbatch --folder --submit"
given="$(printf '%q ' "$@")"
while (($#)) && [[ "$1" != -- ]]; do
    form=. like="a word"
    case "$1" in
        --submit | --no-requeue) form="" ;;
        --gpus) form='^([A-Za-z0-9_.-]+:)?[0-9]+$' like="1, or a100:1" ;;
        --memory) form='^[0-9]+[KMGT]?$' like=16G ;;
        --time) form='^[0-9]+([-:][0-9]+)*$' like=2:00:00 ;;
        --cpus | --nodes | --ranks | --at-once | --workers) form='^[1-9][0-9]*$' like=4 ;;
        # shellcheck disable=SC2086 # words
        *) choice OPTION "$1" $known ;;
    esac
    [[ -z "$form" || "${2:-}" =~ $form ]] || fail "$1 must be like $like, got ${2:-nothing}"
    case "$1" in
        --submit) submit=1 ;;
        --no-requeue) requeue=no-requeue ;;
        --time) limit="$2" ;;
        --sbatch) more="$2" ;;
        --folder) folder="$(from_here "$2" "")" ;;
        *) option="${1#--}" && printf -v "${option//-/_}" %s "$2" ;;
    esac
    [[ -z "$form" ]] && shift || shift 2
done
(($# >= 2)) || fail "expected -- COMMAND after the options; --help tells more"
shift
if [[ -n "$workers" ]]; then
    [[ "$nodes${ranks:-1}" == 11 ]] || fail "a worker is one process; leave out --nodes and --ranks"
    ranks=1
fi
ranks="${ranks:-${gpus##*:}}"
((ranks > 0)) || ranks=1

# A line for each task.
here="$PWD"
if [[ -n "$workers" ]]; then
    line="$(printf '%q ' "$@")"
    lines="$(for ((task = 0; task < workers; task++)); do echo "$line"; done)"
elif [[ "${2:-}" == train.py || "${2:-}" == */train.py ]]; then
    lines="$(printf '%q ' "$@")"
else
    if [[ -z "${PYTHON:-}" ]]; then
        source "$root/scripts/lib/setup_env.sh" requirements.txt
    fi
    export PYTHON
    listed="$(DRY_RUN=1 "$@")" || fail "$* does not list its runs, see above"
    lines="$(grep ' train\.py --output-dir ' <<<"$listed" || true)"
    grep '^== .*: finished before' <<<"$listed" || true
    here="$root"
    if [[ -z "$lines" ]]; then
        [[ "$listed" == *"finished before"* ]] || fail "$* lists no runs with DRY_RUN=1"
        echo "Nothing is left to run; the same command without Slurm prints the table."
        exit
    fi
fi
tasks="$(wc -l <<<"$lines" | tr -d ' ')"

mkdir -p "$folder"
printf '%s\n' "$lines" >"$folder/runs.txt"

# directives: what sbatch reads.
directives() {
    echo "--job-name=$name --array=1-$tasks${at_once:+%$at_once} --output=$folder/%A_%a.txt"
    echo "--open-mode=append --$requeue --nodes=$nodes --ntasks-per-node=1 --cpus-per-task=$cpus"
    [[ "${gpus##*:}" == 0 ]] || echo "--gres=gpu:$gpus"
    echo "${memory:+--mem=$memory} ${limit:+--time=$limit} ${partition:+--partition=$partition}"
    echo "${account:+--account=$account} $more"
}
{
    echo "#!/usr/bin/env bash"
    # shellcheck disable=SC2046 # words
    printf '#SBATCH %s\n' $(directives)
    printf '# A line of runs.txt for each task, written by: bash scripts/slurm_array.sh %s\n' "$given"
    printf 'here=%q folder=%q ranks=%q\n' "$here" "$folder" "$ranks"
    cat "$root/scripts/lib/slurm_task.sh"
} >"$folder/job.sh"
echo "$tasks tasks: $folder/runs.txt"
if [[ -n "$submit" ]]; then
    sbatch "$folder/job.sh"
else
    echo "To hand it in: sbatch $folder/job.sh"
fi
