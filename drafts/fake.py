import json, sys, random
import numpy as np
root = sys.argv[1]; sys.path[:0] = [root, root + "/data", root + "/data/runs"]
import ladder, plan_02, plan_03
from helpers import tasks
env = {"date": "2026-01-01", "card": "FAKE", "torch": "0", "trl": "0", "jobs": 1, "python": "3", "transformers": "0", "peft": "0", "bitsandbytes": "0", "data_sha256": {}}
rng = np.random.default_rng(0)
real = [json.loads(l) for l in open(root + "/data/runs/02.jsonl")]
have = {r["name"]: r for r in real}
def bits(fams, p):
    f = {x: rng.normal(0, .8) for x in set(fams)}
    z = np.log(p / (1 - p))
    return "".join("01"[int(rng.random() < 1 / (1 + np.exp(-(z + f[x]))))] for x in fams)
test = {}
def rows_of(t):
    if t not in test:
        if t == "tone": test[t] = [r for r in tasks.load("tone", "test")]
        elif t == "facts": test[t] = [r for r in tasks.load("handbook", "test") if r["article"]]
        else: test[t] = [r for r in ladder.twelve(t)["rows"] if r["split"] == "test"]
    return test[t]
half = {"sentiment": 300, "extract": 60, "codes-2": 300, "codes-8": 150, "codes-16": 900, "names-8": 60, "routing": 700, "routing_words": 180, "policy-1": 15, "policy-3": 150, "policy-8": 600, "policy-10": 400, "facts": 900, "tone": 10}
def law(t, n, poor=0): 
    p = .95 * n / (n + half[t]) * (1 - poor); return min(max(p, .01), .98)
facts_all = sorted({r["fact"] for r in tasks.load("handbook", "train") if r["article"]})
def fake02(r):
    s = r["set"]; t = s["TASK"]; fams = [x["family"] for x in rows_of(t)]
    if r["stage"] == "prompt": return None
    n = s["ROWS"]; p = law(t, n, s.get("POOR", 0)) if t != "tone" else .01
    if r["name"].startswith("live"): p = {16: .18, 48: .43, 160: .46}[n]
    steps = s["STEPS"]; g = {str(round(q * steps)): {"valid": round(p * q**.2, 3), **({"test": round(p * q**.2, 3)} if "test" in s["GRADED"] else {})} for q in s.get("GRADE_AT", [1.0])}
    res = {"methods": {"tuned": {"exact": bits(fams, p)}, "best": {"exact": bits(fams, p)}}, "grades": g, "own_rows": .6 if n > 1000 and "policy" in t else 1.0 - s.get("POOR", 0) * (n > 300), "loss": [3, 1, .1], "best_step": steps, "headline": {}}
    if t == "tone": res["methods"]["style"] = {"exact": bits(fams, .93)}
    if t == "facts":
        own = random.Random(s["SEED"]).sample(facts_all, min(len(facts_all), max(10, n // 3))); res["facts"] = own
        res["methods"]["tuned"]["exact"] = "".join("01"[int(rng.random() < (.4 if x["fact"] in set(own) else .02))] for x in rows_of(t))
    return res
plan = plan_02.search(); runs2 = [have.get(r["name"]) or {"notebook": "02", **r, "result": fake02(r), "seconds": 1, "environment": env} for r in plan]
for r in plan_02.confirm(runs2) + plan_02.live():
    if r["name"] in have: runs2.append(have[r["name"]])
    elif r["stage"] != "prompt": runs2.append({"notebook": "02", **r, "result": fake02(r), "seconds": 1, "environment": env})
open(root + "/data/runs/02.jsonl", "w").write("".join(json.dumps(r) + "\n" for r in runs2)); print("02", len(runs2))
# 03
rt = tasks.load("routing", "test"); fam = [r["family"] for r in rt]; rv = tasks.load("routing", "valid")
fv = [r["family"] for r in rv]
base = {"raw logs": .6, "one format": 1.0, "reason, stiff words": .9, "reason, own words": 1.3}
def fake03(r):
    s = r["set"]; f = fv if s.get("SPLIT") == "valid" else fam
    if r["stage"] == "indicators":
        kinds = ["sound"] * s["GOOD"] + sum([[k] * s["BAD"] for k in ("wrong label", "cut off", "boilerplate", "off-topic", "duplicate")], [])
        sc = {k: [round(float(rng.normal(1.0 * (x == "sound"), 1) * (1 if k in ("reward", "length") else -1)), 3) for x in kinds] for k in ("length", "perplexity", "IFD", "reward")}
        return {"kinds": kinds, "scores": sc, "reward_accuracy": .88, "length_accuracy": .46, "headline": {}}
    n = s["ROWS"] or (1200 if s.get("SKEWED") else 4000); p = .9 * n / (n + 500 / base[s["TEACHER"]])
    if r["stage"] == "race": p *= {"random": 1, "stratified": 1.02, "nearest": .5, "k-center": 1.05}.get(s["METHOD"], .95) * (.8 if s["SKEWED"] and s["METHOD"] in ("random", "all") else 1)
    p = min(max(p, .02), .97)
    return {"methods": {"tuned": {"exact": bits(f, p), "fields": {k: bits(f, min(.97, p + .1)) for k in ("queue", "priority", "product")}}}, "queues": {"K7": n}, "families": n // 2, "tokens": 25.0, "headline": {}}
runs3 = [{"notebook": "03", **r, "result": fake03(r), "seconds": 1, "environment": env} for r in plan_03.search()]
runs3 += [{"notebook": "03", **r, "result": fake03(r), "seconds": 1, "environment": env} for r in plan_03.confirm(runs3)]
if len(sys.argv) > 2:
    import glob
    runs3 += [json.load(open(p)) for p in glob.glob(sys.argv[2] + "/*.json")]
open(root + "/data/runs/03.jsonl", "w").write("".join(json.dumps(r) + "\n" for r in runs3)); print("03", len(runs3))
