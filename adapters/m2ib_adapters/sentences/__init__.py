"""sentence-transformers: texts, alone or beside images, as one vector or as a set of vectors.

adapter.py   ``load``: all of it together
pipeline.py  a model of sentence-transformers as encoders run it: its modules one after the other
texts.py     texts as it reads them, with their places
pictures.py  images that a model reads among its tokens
"""
