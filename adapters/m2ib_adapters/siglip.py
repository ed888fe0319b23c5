"""SigLIP through transformers: ``SiglipModel`` or ``Siglip2Model`` from a hub id or a local folder."""

from __future__ import annotations

from functools import partial

from m2ib_adapters.huggingface.adapter import fault, load_family

can = partial(fault, "siglip", ("siglip", "siglip2"))
load = partial(load_family, "siglip", ("siglip", "siglip2"), None)  # modalities are PE-AV's
