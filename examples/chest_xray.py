"""A chest X-ray and a finding, explained by CXR-RePaiR: from a DICOM file to a page.

    python examples/chest_xray.py [clip-imp-pretrained_128_6_after_4.pt image.dcm "left pleural effusion"]

Without arguments a small checkpoint with random weights and a drawn chest are made on the spot, and a box is drawn
over the picture: the map then means nothing, the code is the same.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import torch
from pydicom.dataset import FileMetaDataset

import m2ib


def random_checkpoint(path: Path) -> Path:
    """A state dict in OpenAI's format: four blocks, 64 channels, 14 x 14 patches."""
    import open_clip

    torch.manual_seed(0)
    vision = {"image_size": 224, "layers": 4, "width": 64, "head_width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 4}
    torch.save(open_clip.CLIP(64, vision, text, quick_gelu=True).state_dict(), path)
    return path


def drawn_chest(path: Path) -> Path:
    """A DICOM of 12 bits: two dark lungs in a grey body, one with a bright spot."""
    rows, columns = np.mgrid[0:512, 0:448].astype(np.float32)

    def blob(row: float, column: float, high: float, wide: float) -> np.ndarray:
        return np.exp(-(((rows - row) / high) ** 4 + ((columns - column) / wide) ** 4))

    body = 2400 * blob(260, 224, 300, 230) - 1800 * (blob(230, 130, 150, 75) + blob(230, 318, 150, 75))
    pixels = (300 + body + 1200 * blob(320, 318, 40, 45)).clip(0, 4095).astype(np.uint16)
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Modality = "DX"
    dataset.set_pixel_data(pixels, "MONOCHROME2", bits_stored=12)
    dataset.save_as(path, enforce_file_format=True)
    return path


with tempfile.TemporaryDirectory() as folder:
    if len(sys.argv) > 3:
        checkpoint, image, finding = sys.argv[1:4]
        boxes = []
    else:
        checkpoint, image = (
            random_checkpoint(Path(folder) / "clip.pt"),
            drawn_chest(Path(folder) / "chest.dcm"),
        )
        finding = "left lower lobe opacity"
        boxes = [m2ib.Box(273, 280, 90, 80, "drawn opacity")]  # or a file of MS-CXR's

    # equalize: CXR-RePaiR was trained on the JPEGs of MIMIC-CXR, whose histograms are equalised
    model = m2ib.load_model("cxr-repair", checkpoint=checkpoint, equalize=True)
    explanation = m2ib.explain(model, image=image, text=finding).with_boxes(boxes)

print(f"cosine similarity {explanation.similarity:.3f}")
for word, nats in explanation["text"].words:
    print(f"{nats:8.1f} nats  {word}")
grid, (down, across) = explanation["image"].grid, explanation["image"].axes
row, column = np.unravel_index(grid.argmax(), grid.shape)
print("the strongest cell: rows {:.0f} to {:.0f},".format(*down.spans[row]), end=" ")
print("columns {:.0f} to {:.0f} of the raw image".format(*across.spans[column]))
print(explanation.to_html("chest_xray.html"))
