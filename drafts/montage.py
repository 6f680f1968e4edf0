import sys
from PIL import Image
ims=[Image.open(p).convert('RGB') for p in sys.argv[2:]]
w=max(i.width for i in ims); h=sum(i.height for i in ims)
out=Image.new('RGB',(w,h),'white'); y=0
for i in ims: out.paste(i,(0,y)); y+=i.height
if out.width>1100: out=out.resize((1100,int(out.height*1100/out.width)))
out.save(sys.argv[1])
