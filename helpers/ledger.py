"""The claims ledger: what the source says, the rule that decides, and what was measured.

- ``CLAIMS``        every claim with its Chinese clause and its notebook; ``decided_by`` is written before the confirming run
- ``record()``      a notebook's last section writes its verdicts here
- ``table()``       the one-page answer, as Markdown; ``python -m helpers.ledger`` prints it, ``--readme`` puts it into README.md
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "build" / "ledger"
VERDICTS = ("holds", "holds if", "does not hold", "not decided here")


@dataclass(frozen=True)
class Claim:
    """One claim of the source. `decided_by`: metric, size of effect that matters, n, seeds."""

    id: str
    text: str
    source: str
    notebook: str
    decided_by: str = ""


CLAIMS = {
    c.id: c
    for c in (
        Claim(
            "Q1a",
            "rank 16 is enough for a simple task",
            "简单任务rank=16",
            "05",
            "routing, test: whole-record EM(r=16) − EM(best r), each rank at its own best rate and alpha found on valid with seeds 0–2; "
            "holds if the lower 95% bound is ≥ −3 points; n = 640 rows, 64 families, seeds 3–7",
        ),
        Claim(
            "Q1b",
            "alpha = 2 × rank does best",
            "alpha 为秩的两倍",
            "05",
            "routing, test, r=16: EM(alpha=2r) − EM(best other alpha), each alpha at its own best rate found on valid with seeds 0–2; "
            "holds if the lower 95% bound is > 0; 'does not hold' if the upper bound is < +3 points; n = 640, seeds 3–7",
        ),
        Claim(
            "Q2a",
            "perplexity under the base model measures difficulty",
            "根据模型计算困惑度",
            "02",
            "Spearman correlation of the completions' perplexity (base model, no examples) with rows to 70% over 12 tasks; holds if the lower "
            "95% bound (bootstrap over tasks) is > 0.5; 'does not hold' if the upper bound is < 0.5. Rows to 70%: training rows at which "
            "whole answers right on test first reach 70%, 100 steps of 64 rows for every size, seeds 3–7 up to 400 rows, 3–5 above",
        ),
        Claim(
            "Q2b",
            "ordinary tasks need 100–300 rows; medium and hard ones 1000 and more",
            "一般难度100-300条；中等，困难问题一般需要1000以上",
            "02",
            "95% interval of rows to 70% within 6,400 row visits (families and seeds): holds if extract's upper bound is ≤ 300 and the lower bounds "
            "of routing and policy-8 are ≥ 1000; 'does not hold' if a whole interval lies on the wrong side; not decided if an interval spans the "
            "limit, or if a task that is not reached has not fitted its own rows (< 80%): then steps are missing, not rows",
        ),
        Claim(
            "Q2c",
            "what a prompt solves is easy; of the rest, prior knowledge decides",
            "根据模型已有的先验知识来定",
            "02",
            "(1) every task that the best of four prompts solves (≥ 70% on valid) needs ≤ 100 rows; (2) telling names need fewer rows to 70% "
            "than codes in both pairs, 95% interval of the ratio below 1: holds if both, 'holds if' when only (2) can be shown, "
            "'does not hold' if a pair is reversed",
        ),
        Claim(
            "Q2d",
            "rows needed ≈ parameters / 1000",
            "有效样本数≈模型参数数/1000",
            "02",
            "rows to 70% of 12 tasks against all parameters / 1000, trained parameters / 1000, and the source's own 700M → 7M; holds if one "
            "reading is within a factor of 3 for at least 8 tasks; 'does not hold' if none could be, counting tasks that do not reach 70% as hits "
            "wherever they might be",
        ),
        Claim(
            "Q2e",
            "grow the data step by step, stop where validation flattens",
            "逐步增加数据量",
            "02",
            "the walk 25, 100, 400, 1600, 4000 stops where the score is above 10% and the next step's paired gain has its upper 95% bound below "
            "2 points, on one half of the held-out families. Of the walks that stop before the largest size (at least 3), all but one are within 3 "
            "points of the largest size on the other half, and routing with half of the answers wrong gets the label 'poor rows' or 'falling': "
            "holds; one of the two: 'holds if'; fewer than 3 stops: not decided",
        ),
        Claim(
            "Q2f",
            "K-Means and k-center selection: as good with fewer rows",
            "KCentergreedy选择核心样本",
            "03",
            "routing, test, 200 of 4,000 rows (even) and of 1,200 (skewed), 100 steps of 64: EM(paper's core-set) − EM(random); holds if the lower "
            "95% bound is > 0 on one pool and the mean ≥ −3 points on the other; 'does not hold' if both upper bounds are < +3; seeds 3–7",
        ),
        Claim(
            "Q2g",
            "random or stratified sampling serves a large redundant set",
            "随机采样或分层采样",
            "03",
            "the same race: the best selector (nearest, k-center, paper's, with either embedding) against random on the even pool, and against "
            "stratified on the skewed one: holds if its upper 95% bound is < +3 points on both; 'does not hold' if its lower bound is > 0 on both; "
            "'holds if' one of each; else not decided; seeds 3–7",
        ),
        Claim(
            "Q2h",
            "length, reward score, perplexity pick better rows",
            "使用数据质量指标筛选",
            "03",
            "tone, 240 sound and 120 planted bad rows, keep 240; the reward is fitted on other pairs: precision − share of sound rows; an "
            "indicator helps if the lower bound (t, 5 draws of the rows) is ≥ 5 points; holds if all four help, 'holds if' some, 'does not hold' if none",
        ),
        Claim(
            "Q2i",
            "a thousand curated rows teach style and reveal, but do not add, knowledge",
            "揭示在预训练中已经获得的知识",
            "02",
            "at 480 rows each: replies that keep the desk's form, lower 95% bound ≥ 80% (291 tickets), and handbook facts among the rows recalled in "
            "new wording, upper bound < 20%: holds; form kept and the lower bound of recall > 20%: 'holds if' (form alone); form not kept: 'does not hold'; else not decided; seeds 3–7",
        ),
        Claim(
            "Q3",
            "1e-4 to start; lower when the loss swings, raise when it crawls",
            "震荡比较大就调低，太慢就调高",
            "06",
        ),
        Claim("Q4a", "it will not learn when data and goal do not match", "数据集和结果是否真的匹配", "07"),
        Claim("Q4b", "... when the instructions are unlikely under the model", "指令是否是模型友好的", "07"),
        Claim(
            "Q4c",
            "... when the data is unbalanced",
            "数据平衡也还是很重要的",
            "03",
            "routing, balanced test rows, 1,200 training rows: EM(even queues) − EM(500, 300, 144 ... 16 rows a queue); holds if the lower 95% "
            "bound is > 5 points; 'does not hold' if the upper is < 5; seeds 3–5",
        ),
        Claim(
            "Q4d",
            "same cases, same count, a better teacher: fewer rows to target",
            "数据集必须是一个好老师",
            "03",
            "routing tickets, rows to 50% whole records (answers read leniently), raw desk logs against one format with a short reason first in the "
            "model's own words, each at its own rate: holds if twice the reason's upper 95% bound is ≤ the logs' lower bound; 'does not hold' if "
            "the reason is behind at 100 and 400 rows; seeds 3–7 (3–5 at 1,600)",
        ),
        Claim("Q5a", "the more SFT, the more is forgotten", "微调的越多，遗忘的越多", "08"),
        Claim("Q5b", "at rank 8–16 little is lost", "影响还是有限的", "08"),
        Claim("Q5c", "mixing in data of the ability to be kept keeps it", "混合一些你想保留的原子能力的数据", "08"),
        Claim("Q6a", "several abilities at once, if related and in proportion", "注意相关性和比例", "08"),
        Claim("Q6b", "or stage by stage", "多阶段sft", "08"),
        Claim(
            "Q7a",
            "QLoRA of a 7B fits in 12 GB",
            "12G显存",
            "09",
            "7B shape, the recipe of 05, r=16, a card capped at 11.3 GiB (12 GB less the context): holds if 1 x 2,048 tokens trains; "
            "'holds if' only shorter rows do (1 x 512); 'does not hold' if those do not either",
        ),
        Claim(
            "Q7b",
            "it takes 30 minutes to 2 hours",
            "30分钟-2小时",
            "09",
            "1,000 and 3,000 rows of 512 tokens, 3 epochs, the recipe of 05 at 7B shape; measured tokens/s on one card, scaled to an RTX 4090 by "
            "the published bfloat16 rates (an estimate): holds if both times lie in 0.5–2 h; 'holds if' one; else 'does not hold'",
        ),
        Claim(
            "Q7c",
            "about 2 yuan an hour on a rented 4090",
            "2元/小时",
            "09",
            "dated prices of a rented RTX 4090 in `data/prices.csv`, in yuan: holds if their median lies in 1.5–2.5; 'does not hold' outside 1–4; else not decided",
        ),
        Claim(
            "Q7d",
            "data and people dominate the bill",
            "高的是高质量数据集",
            "09",
            "300 rows at 5 minutes each and an hourly wage from the table, against the card's hours for them (3 epochs, 512 tokens, 7B): holds if people "
            "cost at least 10 times as much; 'does not hold' if less than twice; else not decided",
        ),
        Claim(
            "Q8a",
            "ORPO costs about what SFT costs, DPO a little more",
            "Orpo和sft的成本几乎一样",
            "10",
            "7B shape, QLoRA, trl as it is, one card, in one run: seconds and peak GiB a step, ORPO and DPO on n pairs against SFT on the n chosen "
            "rows; holds if ORPO's time is ≤ 1.3 × SFT's and DPO's lies between ORPO's and 2 × SFT's; 'does not hold' if ORPO's is ≥ 1.5 ×; "
            "else not decided; memory is reported beside it",
        ),
        Claim(
            "Q8b",
            "preference tuning recovers what SFT lost",
            "偏好微调可以克服遗忘",
            "10",
            "tone, SFT on the chosen replies, then DPO or ORPO from there: share of the rise of prose loss that the second stage takes back; "
            "'holds if' it is the one whose lower 95% bound (t, seeds 3–7) is ≥ 10% of the rise, holds if both; 'does not hold' if both upper bounds are < 10%; else not decided",
        ),
        Claim(
            "Q8c",
            "... or loses less than SFT at equal gain",
            "偏好微调是更好的选择",
            "10",
            "tone, test, 60 steps in all: SFT; ORPO; 30 steps of SFT and 30 of DPO, or of ORPO. A way counts if its gain (mean of preference "
            "accuracy and style kept) is at most 3 points below SFT's (lower 95% bound, t, seeds 3–7). Difference of the rise of prose loss to SFT's: holds if the upper "
            "95% bound is < 0 for DPO and for ORPO (its better way), 'holds if' one; 'does not hold' if no counting way has a lower mean; else not decided",
        ),
        Claim("Q8d", "the more parameters tuned, the more is forgotten", "微调参数越多，遗忘越大", "08"),
        Claim(
            "Q8e",
            "good pairs cost more than good rows",
            "偏好对要做到高质量是有难度的",
            "10",
            "tone: words to write a pair over words to write its chosen reply, and the difference in gain on test at equal written words, 50, 150 and 500 "
            "pairs by ORPO against 100, 300 and 1,000 rows by SFT, mean of the three; holds if the ratio is ≥ 1.5 and ORPO is not ahead (lower 95% bound, t, seeds 3–7, ≤ 0); "
            "else 'does not hold'",
        ),
        Claim("Q9a", "which tool for whom", "大神/高手/落地", "11"),
        Claim("Q9b", "the same job gives the same labels and losses in each", "(ours)", "11"),
        Claim(
            "Q10",
            "prompt for what it can do, retrieval for what it must know, tuning for how it must behave",
            "一张图解决你的困惑",
            "01",
            "test rows, best of each method chosen on valid: (can do) sentiment, best prompt − tuned ≥ −5 points; (know) handbook version 2, "
            "best retrieval method (base or tuned reader) − facts tuned from version 1, lower 95% bound > 0; (behave) routing, tuned − best prompt, lower bound > 0: "
            "holds if all three; 'holds if' two; 'does not hold' otherwise; trained ones with seeds 3–7 (routing: the adapters of 05, sentiment: 400 rows, of 02)",
        ),
    )
}


@dataclass(frozen=True)
class Entry:
    """One verdict: what was measured with its interval, on what, and the verdict's words."""

    id: str
    measured: str
    scope: str
    verdict: str


def record(id: str, measured: str, scope: str, verdict: str, store: Path | None = None) -> Entry:
    """Write one verdict. It must begin with one of `VERDICTS`, and its claim must have a `decided_by` rule.

    >>> record("Q1a", "x", "y", "maybe")
    Traceback (most recent call last):
    ...
    ValueError: verdict 'maybe' must begin with one of: holds, holds if, does not hold, not decided here
    """
    if not verdict.startswith(VERDICTS):
        raise ValueError(f"verdict {verdict!r} must begin with one of: {', '.join(VERDICTS)}")
    if not CLAIMS[id].decided_by:
        raise ValueError(f"{id} has no rule yet: write its `decided_by` before the confirming run")
    entry = Entry(id, measured, scope, verdict)
    folder = store or STORE
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{id}.part"
    part.write_text(json.dumps(asdict(entry), ensure_ascii=False), encoding="utf-8")
    os.replace(part, folder / f"{id}.json")
    return entry


def entries(store: Path | None = None) -> dict[str, Entry]:
    """The verdicts on file, by claim."""
    return {
        p.stem: Entry(**json.loads(p.read_text(encoding="utf-8"))) for p in sorted((store or STORE).glob("Q*.json"))
    }


def rules(*ids: str) -> str:
    """The `decided by` table of some claims, as text: printed before a notebook's confirming run."""
    return "\n".join(f"{i}  {CLAIMS[i].text}\n     decided by: {CLAIMS[i].decided_by}" for i in ids)


def table(store: Path | None = None) -> str:
    """All claims with verdicts, as a Markdown table; an open one says where it will be measured."""
    found = entries(store)
    lines = ["| claim | in the source | measured | on what | verdict |", "|---|---|---|---|---|"]
    for c in CLAIMS.values():
        e = found.get(c.id)
        cells = (e.measured, e.scope, f"**{e.verdict}**") if e else ("", "", f"open: {c.notebook}")
        lines.append(f"| {c.id}: {c.text} | {c.source} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


BEGIN, END = "<!-- ledger: made by `make ledger` -->", "<!-- end of ledger -->"


def into_readme(path: Path = ROOT / "README.md") -> None:
    """Replace the table between the markers in README.md, keeping verdicts that this machine has none for."""
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path.name} has no ledger markers: {BEGIN} ... {END}")
    old = {
        line.split(":")[0]: line for line in text.split(BEGIN)[1].split(END)[0].splitlines() if line.endswith("** |")
    }
    found = entries()
    new = "\n".join(
        old.get(line.split(":")[0], line) if line.startswith("| Q") and line[2:].split(":")[0] not in found else line
        for line in table().splitlines()
    )
    path.write_text(text.split(BEGIN)[0] + BEGIN + "\n" + new + "\n" + END + text.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The claims ledger")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    if parser.parse_args().readme:
        into_readme()
    else:
        print(table())
