"""The recorded shipping of notebook 12: is what llama.cpp serves the model that was trained?

    python -m data.runs.plan_12 confirm > build/12_confirm.json    with COURSE_MODEL=qwen-1.5b
    python -m data.runs.plan_12 whole > build/12_whole.json        one of them with canaries and faults, the page to its end

Trained on `extract` and on `routing_words` with seeds 3-5, 100 steps of 16 rows at the rate of 06; merged in float32, written as
GGUF, and asked the same test tickets through transformers and through llama.cpp's server in 16, 8 and 4 bits. Nothing is searched.
llama.cpp runs on the CPU, on `THREADS` threads: its seconds are most of a run. A run writes 12 GB of files for a 1.5B.
No rule of claims.toml asks these runs.
"""

from __future__ import annotations

import numpy as np

from helpers import recordings
from helpers.recordings import pack

RATES = {"qwen-1.5b": 3e-4, "qwen-0.5b": 3e-4, recordings.BUNDLED: 2e-3}  # 06; the page's
TASKS, SEEDS, TEST_ROWS = ("extract", "routing_words"), (3, 4, 5), 64
COMMON = {"STEPS": 100, "BATCH": 16, "TEST_ROWS": TEST_ROWS, "THREADS": 8}
SETTINGS = {"THREADS": 0}  # of llama.cpp, which takes torch's number; 0: as the machine has it


def run(kind: str, model: str, task: str, seed: int, stage: str = "parity") -> dict:
    """One training, and its model in four forms."""
    own = {"TASK": task, "SEED": seed, "LEARNING_RATE": RATES[model]}
    return {"name": f"{kind}-{model}-{task}-s{seed}", "stage": stage, "set": COMMON | own}


def confirm(model: str = "qwen-1.5b") -> list[dict]:
    """Both tasks on test, by seed, so that a cut plan has fewer of them."""
    return [run("confirm", model, task, seed) for seed in SEEDS for task in TASKS]


def whole(model: str = "qwen-1.5b") -> list[dict]:
    """The page to its end, once."""
    return [run("whole", model, "extract", 3, "all")]


def before(space: dict, number: int, stages: list[str]) -> None:
    """llama.cpp takes as many threads as torch has, which the recorder starts with one."""
    if space["THREADS"]:
        import torch

        torch.set_num_threads(space["THREADS"])


def parting(space: dict, form: str, i: int) -> dict | None:
    """Where the served answer to ticket i leaves transformers': place, both tokens, and by how many nats transformers led."""
    if (found := space["first_parting"](form, i)) is None:
        return None
    place, there, chosen = found
    top = there.topk(2)
    token = lambda id: space["tokenizer"].convert_ids_to_tokens(int(id))
    return {
        "ticket": i,
        "place": place,
        "said": token(chosen),
        "transformers": token(top.indices[0]),
        "lead": round(float(top.values[0] - top.values[1]), 4),  # of its first token over its second
        "behind": round(float(top.values[0] - there[chosen]), 4),  # what the served token lay behind the first
        "rank": int((there > there[chosen]).sum()),
    }


def agreement(space: dict, form: str) -> tuple[int, int]:
    """Tokens of transformers' answers that the served ones share up to where they part, and all of its tokens."""
    shared = asked = 0
    for i, text in enumerate(space["answers"]["transformers"]):
        tail = space["tokenizer"](text, add_special_tokens=False)["input_ids"]
        served = [token.id for token in space["replies"][form][i].choices[0].logprobs.content]
        parts = [p for p, (a, b) in enumerate(zip(served, tail)) if a != b]
        shared += parts[0] if parts else min(len(tail), len(served))
        asked += len(tail)
    return shared, asked


def rounded(values, digits: int = 4):
    """Numbers as JSON has them: of a dict by its keys, else a list."""
    if isinstance(values, dict):
        return {key: round(float(x), digits) for key, x in values.items()}
    return [round(float(x), digits) for x in values]


def collect(space: dict, stage: str) -> dict:
    """Exact match and sameness of every form, where they part and how near a tie it was, sizes, speeds, what merging kept."""
    import torch

    if space["model"] is None:  # the page to its end has let it go
        space["model"] = space["load_folder"]("merged")
    answers, forms, rows = space["answers"], list(space["FORMS"]), space["test_rows"]
    same = {form: np.array(answers[form]) == np.array(answers["transformers"]) for form in forms}
    kinds = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    times = {form: [reply.model_extra["timings"] for reply in space["replies"][form]] for form in forms}
    mean = lambda form, key: round(float(np.mean([t[key] for t in times[form]])), 2)
    changed = [(form, int(i)) for form in forms for i in np.flatnonzero(~same[form])]
    result = {
        "exact": {form: pack(bits) for form, bits in space["right"].items()},
        "same": {form: pack(bits) for form, bits in same.items()},
        "tokens": {form: agreement(space, form) for form in forms},
        "leads": rounded(space["leads"], 3),  # the narrowest along transformers' answer, by ticket
        "partings": {form: [p for f, i in changed if f == form and (p := parting(space, f, i))] for form in forms},
        "examples": [
            {"form": form, "ticket": rows[i]["prompt"], "wanted": rows[i]["completion"]}
            | {"transformers": answers["transformers"][i], "served": answers[form][i]}
            for form, i in changed[:6]
        ],
        "tokens_per_s": rounded(space["speed"], 2),
        "ms": {f: {key: mean(f, key) for key in ("prompt_n", "prompt_ms", "predicted_n", "predicted_ms")} for f in forms},
        "threads": torch.get_num_threads(),
        "transformers_on": str(space["model"].device),
        "size_mib": rounded(space["size_mib"], 1),
        "adapter_mib": round(space["adapter_mib"], 1),
        "loss": rounded(space["curve"]),
        "trained_in": str(space["COMPUTE"]).removeprefix("torch."),
        "same_three_reloaded": bool(space["again"] == space["first_answers"]),
        "merge_shift": round(space["merge_shift"], 6),
        "same_after_folder": [space["same_folder"], len(space["in_memory"])],
        "correction": round(float(space["update"].abs().mean()), 7),
        "weight": round(float(space["base_weight"].abs().mean()), 6),
        "step_of_four_bits": round(float(space["step"].mean()), 6),
        "kept_in_four": round(space["kept_in_four"], 5),
        "unmoved_in_four": round(space["still"], 5),
        "kept": {name: rounded((space["survives"](space["update"] / by, kind) for by in (1, 10)), 5) for name, kind in kinds.items()},
        "prompts_agree": [space["agreeing"], len(space["chats"])],
        "architecture": space["family"],
        "pre": space["read_key"]["tokenizer.ggml.pre"],
    }  # fmt: skip
    if stage == "all":
        result |= {
            "caught": space["caught"],
            "broken_in_4": space["broken_in_4"],
            "canary_leads": rounded(space["lead"][space["clearest"]], 2),
        }
    right = {form: round(float(bits.mean()), 3) for form, bits in space["right"].items()}
    return result | {"headline": {"exact": right, "same": {f: round(float(s.mean()), 3) for f, s in same.items()}}}


def measured(runs: list[dict]) -> dict:
    """No rule of claims.toml rests on these runs."""
    return {}


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, confirm=confirm, whole=whole)
