import re,sys
n=sys.argv[1]
skel=open(f".scratch/nb{n}_skel.txt").read(); t=open(f".scratch/t{n}.txt").read()
code=[b.rstrip("\n") for b in re.split(r"(?m)^(?==== )", skel) if b.startswith("=== code")]
t=re.sub(r"(?m)^=== rec (\d+)$", lambda m: code[int(m[1])], t)
import os
subs=f".scratch/s{n}.txt"
if os.path.exists(subs):
    for part in re.split(r"(?m)^@@@ ", open(subs).read())[1:]:
        k,_,v=part.partition("\n"); t=t.replace(f"@@{k.strip()}@@", v.strip())
open(f".scratch/nb{n}.txt","w").write(t)
print("left:", re.findall(r"@@[A-Z]\w*SAY@@|@@COST\d+@@|@@\w+TITLE@@", t))
