"""CXR-RePaiR and other CLIPs in OpenAI's format, for chest X-rays.

openai_format.py  a state dict's shapes -> the architecture, as open_clip configures it
preprocess.py     an X-ray's pixels as CXR-RePaiR was trained on them
adapter.py        ``load``: both together, on the open_clip adapter's towers
"""
