"""CLIP through transformers: ``CLIPModel`` from a hub id or a local folder."""

from __future__ import annotations

from functools import partial

from m2ib_adapters.huggingface.adapter import fault, load_family

can = partial(fault, "clip", ("clip",))
load = partial(load_family, "clip", ("clip",), None, None)  # modalities and max_patches are no CLIP's
