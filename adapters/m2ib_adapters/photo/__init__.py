"""The embedded default: EfficientNet-Lite2 and all-MiniLM-L6-v2, joined by a fitted linear map."""
