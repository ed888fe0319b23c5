"""Methods that make maps, behind ``explain(..., method=)``: one module each, and a registry open to plugins.

Names are imported at first use, so that registering the methods loads no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
