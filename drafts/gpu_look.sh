cat build/go.log; cp build/runs10/* build/runs09/* build/log_*.txt $OUT/ 2>/dev/null; for f in build/log_cost_*.txt; do tail -c 300 $f; done
for f in build/log_try_*.txt; do grep '"name"' $f | python3 -c "
import sys, json
for l in sys.stdin:
    try: s=json.loads(l)
    except Exception: continue
    print(s['name'], s.get('fits'), s.get('error','')[:160], s.get('tokens_per_s'), s.get('peak_gib'), s.get('loss',[None])[-1], 'b', s.get('breaks'), s.get('graphs'), s.get('all_s'), s.get('left_gib',''))"; tail -c 200 $f; done; ls build/runs09 build/runs10
