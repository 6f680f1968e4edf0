import glob, json, os, collections
out = os.environ["OUT"]
for n in ("02", "10"):
    lines = [json.load(open(p)) for p in sorted(glob.glob(f"build/runs{n}/*.json"))]
    if lines:
        open(f"{out}/runs{n}.jsonl", "w").write("".join(json.dumps(x, separators=(",", ":")) + "\n" for x in lines))
    print(n, "done", dict(collections.Counter(x["name"].split("-")[0] for x in lines)))
print(open("build/go.log").read()[-600:])
errs = sorted(glob.glob("build/err/*") + glob.glob("build/runs*/*.error"))
for e in errs[:4]: print("   ERROR", os.path.basename(e), open(e).read().strip().splitlines()[-1][:200])
print("errors", len(errs))
for p in sorted(glob.glob("build/log_*")): print("   ", os.path.basename(p), (open(p).read().strip().splitlines()[-1:] or [""])[0][:150])
os.system("nvidia-smi --query-gpu=memory.used,utilization.gpu --format=csv,noheader; df -h /tmp | tail -1")
