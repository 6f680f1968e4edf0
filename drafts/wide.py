import json,sys
for p in sys.argv[1:]:
    nb=json.load(open(p)); run=0
    for i,c in enumerate(nb['cells']):
        s=''.join(c['source']); L=s.splitlines()
        if c['cell_type']=='code':
            run+=1
            lim=30 if 'Config(' in s else 20
            if len(L)>lim or max(map(len,L),default=0)>112: print(p[-20:],i,len(L),max(map(len,L)),L[0][:60])
            if run>3: print(p[-20:],i,'4 code cells in a row')
        else:
            run=0
