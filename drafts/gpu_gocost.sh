#!/bin/bash
# card 0: cost of short tickets, then try-a; card 1: cost of long tickets, then try-b
mkdir -p build/repo build/plans build/runs10 build/runs09 build/s0 build/s1; cp -r data helpers notebooks build/repo/; cp -r .pack/tiny build/tiny; cd build/repo
export PYTHONPATH=build/site:build/repo HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 COURSE_CACHE=build/cache COURSE_MODEL=build/tiny COURSE_BARS=0 TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore HF_HUB_DISABLE_PROGRESS_BARS=1
python3 - <<'P'
import json, sys
sys.path[:0] = ["build/repo/data/runs", "build/repo/data"]
import plan_10, plan_09
plan_10.best = lambda runs, first, method: (plan_10.METHODS[first, method][0][0], plan_10.METHODS[first, method][1][0])
for r in plan_10.confirm([]):
    if r["stage"] == "cost": json.dump([r], open(f"build/plans/{r['set']['REPEAT']}.json", "w"))
for r in plan_09.rehearsal(): json.dump([r], open(f"build/plans/{r['name']}.json", "w"))
P
card() { # card repeat try
  export CUDA_VISIBLE_DEVICES=$1 TMPDIR=build/s$1 TORCHINDUCTOR_CACHE_DIR=build/ind$1 TRITON_CACHE_DIR=build/tri$1
  python3 data/record.py 10 --plan build/plans/$2.json --out build/runs10 > build/log_cost_$1.txt 2>&1; date +"%T cost $2 ended" >> build/go.log
  python3 data/record.py 09 --plan build/plans/$3.json --out build/runs09 > build/log_try_$1.txt 2>&1; date +"%T $3 ended" >> build/go.log
}
date +"%T start" > build/go.log
card 0 1 try-a & card 1 8 try-b & wait; date +"%T done" >> build/go.log
