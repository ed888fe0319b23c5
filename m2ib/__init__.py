"""Why does a shared-embedding model put two things close together?

>>> import m2ib
>>> model = m2ib.load_model("photo")
>>> explanation = m2ib.explain(model, image="cat.jpg", text="a tabby cat")
>>> explanation.to_html("cat.html")

Names are imported at first use, so that ``import m2ib`` and listing adapters load no torch; ``__init__.pyi`` says which there
are, and where they live.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
