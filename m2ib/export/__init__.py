"""Results in the formats of other programs: FiftyOne, COCO, Label Studio, Hugging Face datasets, PNG; and lines for loggers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "coco": ["to_coco"],
        "fiftyone": ["to_fiftyone"],
        "huggingface": ["to_huggingface"],
        "label_studio": ["to_label_studio"],
        "loggers": ["log_mlflow", "log_tensorboard", "log_wandb"],
        "png": ["to_png"],
        "rows": ["Exported"],
    },
)
