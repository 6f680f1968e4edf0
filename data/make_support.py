"""support.csv: 300 tickets as a help desk's program exports them, with the flaws that such files have.

    python -m data.make_support

Columns: Ticket ID, Received, Source (mail, chat, form), Customer, Message, Record. The texts are rows of `extract`; each customer
writes in a wording of their own, so that a split by customer is a split by wording. Put in on purpose: two kinds of line breaks, an empty line, two
rows that stand twice, one message far too long, a message of two lines in quotes.
"""

from __future__ import annotations

import csv
import io
import random

from helpers import tasks

ROWS, SOURCES = 300, ("mail", "chat", "form")


def build() -> str:
    """The whole file as text, the same at every call."""
    rng, by_family = random.Random(14), {}
    for row in tasks.load("extract", "train"):
        by_family.setdefault(row["family"], []).append(row)
    each = ROWS // len(by_family)
    lines = []
    for number, family in enumerate(sorted(by_family)):
        for row in rng.sample(by_family[family], each):
            day = f"2026-{rng.randint(1, 9):02}-{rng.randint(1, 28):02}"
            lines.append([day, SOURCES[number % 3], f"C-{1001 + 7 * number}", row["prompt"], row["completion"]])
    rng.shuffle(lines)
    long = "My story begins long ago. " * 60
    lines[40][3] = long + lines[40][3]
    lines[90][3] = "Good day,\n" + lines[90][3]
    lines += [list(lines[10]), list(lines[20])]  # exported twice
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Ticket ID", "Received", "Source", "Customer", "Message", "Record"])
    for number, line in enumerate(lines):
        twin = {len(lines) - 2: 10, len(lines) - 1: 20}.get(number, number)  # a ticket exported twice keeps its number
        part = io.StringIO()
        csv.writer(part, lineterminator="\r\n" if number % 2 else "\n").writerow([70000 + twin, *line])
        text.write(part.getvalue() + ("\n" if number == 150 else ""))
    return text.getvalue()


if __name__ == "__main__":
    (tasks.DATA / "support.csv").write_text(build(), encoding="utf-8", newline="")
    print(f"data/support.csv: {build().count('C-')} tickets")
