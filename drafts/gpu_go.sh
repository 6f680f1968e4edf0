#!/bin/bash
cd build/repo
export PYTHONPATH=build/site:build/repo HF_HUB_OFFLINE=1 COURSE_CACHE=build/cache COURSE_BARS=0 JAX_PLATFORMS=cpu TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
N=$(nvidia-smi -L | wc -l); MEM=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits | head -1)
[ $MEM -gt 100000 ] && J=13 || J=9
mkdir -p build/plans build/err build/runs10 build/runs02
plan() { # number kind file filter
  n=$1; k=$2; a=""; [ $k = confirm ] && a=build/runs$n
  python3 data/runs/plan_$n.py $k $a > build/plans/$3.all && python3 -c "
import json, os
p=[r for r in json.load(open('build/plans/$3.all')) if ($4) and not os.path.exists('build/runs$n/'+r['name']+'.json')]
json.dump(sorted(p, key=lambda r: -(r['set'].get('STEPS',0)+(r['set'].get('FIRST_STEPS',0) if r['set'].get('FIRST','none')!='none' else 0))), open('build/plans/$3.json','w')); print(len(p), 'in $3')"
}
both() { # number file jobs
  pids=
  for g in $(seq 1 $N); do CUDA_VISIBLE_DEVICES=$((g-1)) python3 data/record.py $1 --plan build/plans/$2.json --out build/runs$1 --jobs $3 --share $g/$N --reuse 40 >> build/log_$2_$g.txt 2>&1 & pids="$pids $!"; done; wait $pids
  for e in build/runs$1/*.error; do [ -e "$e" ] && mv "$e" build/err/; done
}
nvidia-cuda-mps-control -d 2>/dev/null
date +"%T 02 poor and 10 search"
plan 02 confirm 02poor "'poor' in r['name'] and r['set']['ROWS'] > 100"
plan 10 search 10s True
both 02 02poor 2 & P=$!
both 10 10s $((J-2)); wait $P
plan 10 search 10s2 True; both 10 10s2 $J
date +"%T 10 confirm"
plan 10 confirm 10c "r['stage'] != 'cost'"; both 10 10c $J
plan 10 confirm 10c2 "r['stage'] != 'cost'"; both 10 10c2 $J
plan 02 confirm 02poor2 "'poor' in r['name'] and r['set']['ROWS'] > 100"; both 02 02poor2 3
echo quit | nvidia-cuda-mps-control 2>/dev/null; sleep 2
date +"%T cost"
plan 10 confirm 10cost "r['stage'] == 'cost'"
for g in $(seq 1 $N); do CUDA_VISIBLE_DEVICES=$((g-1)) python3 data/record.py 10 --plan build/plans/10cost.json --out build/runs10 --jobs 1 --reuse 1 --share $g/$N >> build/log_cost_$g.txt 2>&1 & done; wait
date +"%T done"
