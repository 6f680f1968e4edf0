"""narrow.py FILE: ruff-format code cells with a line over 112 (line length 112); rec cells of the skeleton too."""
import re, subprocess, sys
p = sys.argv[1]; s = open(p).read()
parts = re.split(r"(?m)^(?==== )", s); out = []
for b in parts:
    head, _, body = b.partition("\n")
    if head.startswith("=== code") and "@@" not in body.split("\n")[0] and max(map(len, body.splitlines() or [""])) > 112:
        r = subprocess.run([".venv/bin/ruff", "format", "--line-length", "112", "--config", "format.skip-magic-trailing-comma=true", "--stdin-filename", "x.py", "-"], input=body, capture_output=True, text=True)
        if r.returncode: print(r.stderr[:300])
        else:
            new = re.sub(r"\n\n\n+", "\n\n", r.stdout)
            if len(new.rstrip().splitlines()) > 20 and "Config(" not in new: print("long:", len(new.splitlines()), body.splitlines()[0][:60])
            body = new
            b = head + "\n" + body
    out.append(b)
open(p, "w").write("".join(out))
