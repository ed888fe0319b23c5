from .coco import to_coco
from .fiftyone import to_fiftyone
from .huggingface import to_huggingface
from .label_studio import to_label_studio
from .loggers import log_mlflow, log_tensorboard, log_wandb
from .png import to_png
from .rows import Exported

__all__ = [
    "Exported",
    "log_mlflow",
    "log_tensorboard",
    "log_wandb",
    "to_coco",
    "to_fiftyone",
    "to_huggingface",
    "to_label_studio",
    "to_png",
]
