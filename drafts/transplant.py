"""transplant.py SRC NB: rebuild NB from SRC but keep outputs of cells whose source is unchanged (prose edits)."""
import json,subprocess,sys,os
src,nb=sys.argv[1:3]
old=json.load(open(nb)); subprocess.run([sys.executable,'.scratch/build_nb.py',src,'.scratch/new.ipynb'],check=True)
new=json.load(open('.scratch/new.ipynb')); new['metadata']=old['metadata']
by={}
for c in old['cells']:
    if c['cell_type']=='code': by.setdefault(''.join(c['source']),[]).append(c)
miss=0
for c in new['cells']:
    if c['cell_type']=='code':
        o=by.get(''.join(c['source']))
        if o: o=o.pop(0); c['outputs'],c['execution_count']=o['outputs'],o['execution_count']
        else: miss+=1; print('changed:',''.join(c['source'])[:60])
json.dump(new,open(nb,'w'),indent=1,ensure_ascii=False); print('missing',miss)
