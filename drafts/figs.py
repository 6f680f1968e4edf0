import json,sys,base64
nb=json.load(open(sys.argv[1])); tag=sys.argv[2]; n=0
for i,c in enumerate(nb['cells']):
    for o in c.get('outputs',[]):
        d=o.get('data',{})
        if 'image/png' in d:
            x=d['image/png']; x=''.join(x) if isinstance(x,list) else x
            open(f'build/{tag}_{i}.png','wb').write(base64.b64decode(x)); print(f'build/{tag}_{i}.png')
