"""FAKE confirming records of 10, made from the searched ones, for rehearsing in a copy only: never commit what this writes."""
import json, sys, random
root = sys.argv[1]; sys.path[:0] = [root + "/data/runs", root + "/data"]
import plan_10
path = root + "/data/runs/10.jsonl"
runs = [json.loads(l) for l in open(path)]; runs = [r for r in runs if r["name"].startswith("search")]
by = {}
for r in runs: by.setdefault((r["set"]["FIRST"], r["set"]["METHOD"], r["set"]["LEARNING_RATE"], r["set"]["BETA"]), []).append(r)
out = list(runs); rng = random.Random(0)
for p in plan_10.confirm(runs) + plan_10.live():
    s = p["set"]; r = dict(runs[0]); r.update(p)
    if p["stage"] == "cost":
        c = {"SFT": 1.0, "ORPO": 2.3, "ORPO, answers' logits only": 2.0, "DPO": 2.8, "DPO, precomputed": 2.1}
        r["result"] = {"cost": {k: {"step": v, "before": 1.0, "peak_gib": 10 * v, "tokens": 90.0} for k, v in c.items()}, "methods": {}}
    else:
        key = ("none" if s.get("FIRST", "none") == "routing" else s.get("FIRST", "none"), s["METHOD"], s["LEARNING_RATE"], s.get("BETA", 0.1))
        src = by.get(key) or by["none", "dpo", 1e-4, 0.5] if s["METHOD"] in ("none", "dpo") or key in by else by["none", "sft", 2e-3, 0.1]
        res = json.loads(json.dumps(src[s["SEED"] % 3]["result"]))
        if s["METHOD"] == "none":
            a = res["after"]; a["prose"], a["kl"] = 3.11, 0.0; a["style"] = {k: "0" * len(v) for k, v in a["style"].items()}
        res["after"]["prose"] += rng.gauss(0, .02) + (0 if s.get("STEPS", 60) == 60 else .1 * (s["STEPS"] > 60) - .1 * (s["STEPS"] < 60))
        if s.get("STEPS", 60) < 60 and s["METHOD"] == "sft":
            k = next(iter(res["after"]["style"])); v = res["after"]["style"][k]; n = len(v) // (s["STEPS"] // 5); res["after"]["style"][k] = "0" * n + v[n:]
        if s.get("FIRST", "none") == "routing":
            res["before"] = json.loads(json.dumps(res["after"])); res["before"]["routed"] = "1" * 480 + "0" * 160; res["after"]["routed"] = "1" * 200 + "0" * 440
        r["result"] = res
    r["environment"] = dict(r["environment"], card="FAKE"); out.append(r)
open(path, "w").write("".join(json.dumps(r) + "\n" for r in out)); print("10", len(out))
