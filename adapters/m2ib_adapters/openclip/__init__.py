"""open_clip: CLIP, SigLIP, CoCa and their kin.

architectures.py  what the user calls an architecture -> open_clip's configuration
weights.py        a configuration and a file or tag -> the module with its weights
image_towers.py   VisionTransformer, ModifiedResNet and timm's encoders
text_towers.py    open_clip's own text transformer and Hugging Face's encoders
blocks.py         what the transformers of both towers share
adapter.py        ``load``: all of it together
"""
