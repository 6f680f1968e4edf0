cat build/go.log; ls build/runs10/*.json 2>/dev/null | wc -l
for n in 09 10; do for f in build/runs$n/*.json; do [ -e $f ] && { cat $f; echo; }; done > $OUT/runs$n.jsonl; done; tail -q -n 2 build/runs*/*.error build/err/* 2>/dev/null | cut -c1-300
tar -C /tmp -cJf $OUT/logs.txz $(cd /tmp; ls log_*.txt go.log) 2>/dev/null
for f in build/log_*.txt; do echo "$f: $(tail -n 1 $f | tail -c 160)"; done; nvidia-smi --query-gpu=memory.used,utilization.gpu --format=csv,noheader; ls -la $OUT
