#!/bin/bash
# cost.sh CARD: the cost run of notebook 10
n=$([ $1 = 0 ] && echo 1 || echo 24); unset TRITON_CACHE_DIR TORCHINDUCTOR_CACHE_DIR
mkdir -p build/s$1; cd build/repo; date +"%T cost $n" >> build/go.log
CUDA_VISIBLE_DEVICES=$1 TMPDIR=build/s$1 TOKENIZERS_PARALLELISM=false timeout 260 python3 data/record.py 10 --plan build/pk/cost$n.json --out build/runs10 > build/log_cost_$n.txt 2>&1
date +"%T cost $n ended $?" >> build/go.log; rm -rf build/s$1
