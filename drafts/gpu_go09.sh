#!/bin/bash
# bash draft/go09.sh [CARDS] [SECONDS]     the measuring of notebook 09 on CARDS cards, within SECONDS (default 1 and 570)
#
# First `try` (every switch once, two layers), then the runs of plan_09.py by priority: each card takes the next one that
# nobody has, one process at a time. Finished runs are skipped, so a second call goes on where the first stopped.
# Each setting is also a line of JSON in build/log_09_<card>.txt as soon as it is measured. SKIP_TRY=1 leaves the try out.
# With $OUT set, results and logs are copied there after every run.
CARDS=${1:-1}; END=$(( SECONDS + ${2:-570} ))
PY=${PY:-python3}; REPO=${REPO:-build/repo}; RUNS=${RUNS:-build/runs09}; CLAIMS=$(mktemp -d)
export PYTHONPATH=${PYTHONPATH:-build/site:build/repo} COURSE_CACHE=${COURSE_CACHE:-build/cache} TMPDIR=${SHAPES:-build/shapes}
export TORCHINDUCTOR_CACHE_DIR=build/inductor09 TRITON_CACHE_DIR=build/triton09 PYTHONUNBUFFERED=1
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 PYTHONWARNINGS=ignore
LOG=${LOG:-/tmp}/log_09; mkdir -p "$RUNS" "$TMPDIR"; cd "$REPO" || exit 1

one() {  # CARD NAME LIMIT: one run, in one process, on one card
    local left=$(( END - SECONDS )) limit=$3
    [ -f "$RUNS/$2.json" ] && return
    (( left < 25 )) && return
    (( limit > left - 5 )) && limit=$(( left - 5 ))
    case $2 in
        try-*) "$PY" data/runs/plan_09.py try | "$PY" -c "import json, sys
json.dump([r for r in json.load(sys.stdin) if r['name'] == '$2'], sys.stdout)" > "$TMPDIR/plan-$2.json" ;;
        *) "$PY" data/runs/plan_09.py one "$2" "$RUNS" > "$TMPDIR/plan-$2.json" ;;
    esac
    echo "=== $(date +%T) $2, $limit s at most" >> "$LOG"_"$1.txt"
    CUDA_VISIBLE_DEVICES=$1 timeout -k 10 "$limit" "$PY" data/record.py 09 --plan "$TMPDIR/plan-$2.json" --out "$RUNS" \
        >> "$LOG"_"$1.txt" 2>&1
    echo "=== $(date +%T) $2 ended with $?" >> "$LOG"_"$1.txt"
    [ -n "$OUT" ] && cp -r "$RUNS" "$LOG"_*.txt "$OUT"/ 2> /dev/null
}

worker() {  # CARD LIMIT NAMES...: the next run that no other card has taken
    local card=$1 limit=$2; shift 2
    [ -n "$PRE" ] && bash "$PRE" "$card"
    for name in "$@"; do
        mkdir "$CLAIMS/$name" 2> /dev/null && one "$card" "$name" "$limit"
    done
}

everywhere() {  # LIMIT NAMES...: on all cards, until all is done
    local workers=()
    for (( card = 0; card < CARDS; card++ )); do
        worker "$card" "$@" & workers+=($!)
    done
    wait "${workers[@]}"
}

if [ -z "$SKIP_TRY" ]; then
    everywhere 150 try-a try-b
    "$PY" - "$RUNS" << 'END_PY'
import json, pathlib, sys
for path in sorted(pathlib.Path(sys.argv[1]).glob("try-*.json")):
    run = json.loads(path.read_text())
    wrong = {s["name"]: s["error"] for s in run["result"]["settings"] if not s["fits"]}
    print(path.stem, f"{run['seconds']} s; not measured: {wrong}")
END_PY
    ls "$RUNS"/try-*.json > /dev/null 2>&1 || { echo "the try left nothing: see $LOG"_0.txt; tail -5 "$LOG"_0.txt; exit 1; }
fi
everywhere "${LIMIT:-240}" $("$PY" data/runs/plan_09.py names)
grep -h "^\[1/1" "$LOG"_*.txt
ls "$RUNS"
