"""What comes out of explanations: looking at one, saving and loading it; tables of many, by :func:`open`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "explanation": ["Explanation", "load_explanation"],
        "table": ["ResultTable", "Summary", "open"],
    },
)
