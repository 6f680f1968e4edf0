#!/bin/bash
mkdir -p build/cache/wheels build/cache/models build/repo build/runs10 build/runs09 build/shapes0 build/shapes1; cp -r data helpers notebooks build/repo/; cp -r .pack/tiny build/tiny
cat build/pk/model.part? > build/cache/wheels/SmolLM2-135M-Instruct.Q4_1.gguf
cd build/repo
export PYTHONPATH=build/site:build/repo HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 COURSE_CACHE=build/cache COURSE_BARS=0 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore HF_HUB_DISABLE_PROGRESS_BARS=1 JAX_PLATFORMS=cpu
python3 -c "from helpers import models; print(models.bundled())" 2>/dev/null
cat > build/b.sh <<'B'
nvidia-cuda-mps-control -d 2>/dev/null; date +"%T start"
ten() { for g in 0 1; do CUDA_VISIBLE_DEVICES=$g python3 data/record.py 10 --plan build/pk/miss10.json --out build/runs10 --jobs 10 --share $((g+1))/2 --reuse 40 > build/log_10_$g.txt 2>&1 & p="$p $!"; done; wait $p; }
( export CUDA_MPS_PIPE_DIRECTORY=build/nomps OMP_NUM_THREADS=4 CUDA_VISIBLE_DEVICES=1 TMPDIR=build/shapes1 TORCHINDUCTOR_CACHE_DIR=build/ind1 TRITON_CACHE_DIR=build/tri1 COURSE_MODEL=build/tiny
  timeout 240 python3 data/record.py 09 --plan build/pk/try-b.json --out build/runs09 > build/log_try-b.txt 2>&1; date +"%T try-b ended $?" ) &
ten; ls build/runs10/*.error >/dev/null 2>&1 && { date +"%T again"; mkdir -p build/err; mv build/runs10/*.error build/err/; ten; }
wait; date +"%T done"
B
(setsid nohup bash build/b.sh > build/go.log 2>&1 &); sleep 1; echo started
