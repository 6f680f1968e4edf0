"""FAKE records of 09 from the planner with made-up constants, for rehearsing in a copy only: never commit what this writes."""
import json, sys
import numpy as np
root = sys.argv[1]; sys.path[:0] = [root, root + "/data", root + "/data/runs"]
import plan_09
from helpers import planner
f = planner.Fit(14, 12, 8, 0.6, 1.4, 6e-12, 1.2e-4); rng = np.random.default_rng(0); rate = 7.5e14; out = []
for p in plan_09.measure():
    found = []
    for s in p["set"]["SETTINGS"]:
        s = {"method": "qlora", "rank": 16, "batch": 4, "length": 1024, "checkpointing": 1.0, "optimizer": "adamw_torch", "fused": False, "compiled": False, "packing": False, "offload": False, "real": False, "cap": 0.0} | s
        o = s["optimizer"] if s["optimizer"] in planner.STATE_BYTES else "adamw_torch"
        plan = planner.Plan(planner.Shape.of(p["set"]["SHAPE"]), s["method"], "sft", s["rank"], s["batch"], s["length"], s["checkpointing"], o)
        gib = plan.total(f) * rng.normal(1, .03) * (.9 if s["fused"] else 1); step = plan.seconds(rate, f) * rng.normal(1, .05) * (.7 if s["fused"] else 1)
        fits = not s["cap"] or gib < s["cap"]
        found.append(s | ({"fits": True, "step": step, "tokens": plan.tokens, "tokens_per_s": plan.tokens / step, "peak_gib": gib, "reserved_gib": gib, "loss": [11.9] * 8} if fits else {"fits": False}))
    out.append({"notebook": "09", **p, "result": {"settings": found, "matrix_rate": rate, "methods": {}}, "seconds": 1, "environment": {"card": "FAKE", "trl": "0"}})
open(root + "/data/runs/09.jsonl", "w").write("".join(json.dumps(r) + "\n" for r in out)); print(len(out))
