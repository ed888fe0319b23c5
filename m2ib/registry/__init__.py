"""What plugins register (`specs.py`), by which hooks, how it is found and its code is run, and what comes built in."""
