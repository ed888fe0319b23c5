"""What comes out of explanations: looking at one, saving and loading it; tables of many, by :func:`open`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
