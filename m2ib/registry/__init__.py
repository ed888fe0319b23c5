"""What plugins register (`specs.py`), by which hooks, how it is found, and what comes built in."""
