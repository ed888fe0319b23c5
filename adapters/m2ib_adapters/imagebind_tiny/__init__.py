"""A small ImageBind of six modalities, trained on ``m2ib.scenes``; its weights come with the package."""
