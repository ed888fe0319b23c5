"""Results in the formats of other programs: FiftyOne, COCO, Label Studio, Hugging Face datasets, PNG; and lines for loggers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
