#!/bin/bash
mkdir -p build/cache build/repo build/runs10 build/runs09 build/shapes; cp -r data helpers notebooks build/repo/; cp -r .pack/tiny build/tiny
export PYTHONPATH=build/site:build/repo COURSE_CACHE=build/cache COURSE_MODEL=build/tiny COURSE_BARS=0 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 PYTHONWARNINGS=ignore SKIP_TRY=1 PRE=build/pk/cost.sh; unset OUT
date +"%T start" > build/go.log
(setsid nohup bash build/pk/go09.sh 2 ${1:-800} > build/go09.log 2>&1 &) ; sleep 1; echo started
