import json,sys
nb=json.load(open(sys.argv[1])); lim=int(sys.argv[2]) if len(sys.argv)>2 else 1500
for i,c in enumerate(nb['cells']):
    if c['cell_type']!='code': continue
    t=''
    for o in c.get('outputs',[]):
        t+=''.join(o.get('text',''))
        d=o.get('data',{})
        if 'image/png' in d: t+='[PNG]\n'
        elif 'text/plain' in d: t+=''.join(d['text/plain'])+'\n'
        if o.get('output_type')=='error': t+='ERROR '+o['ename']+': '+o['evalue'][:600]+'\n'
    if t.strip(): print(f'--- {i}', ''.join(c['source']).splitlines()[0][:70]); print(t[:lim])
