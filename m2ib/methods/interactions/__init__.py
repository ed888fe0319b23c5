"""Which unit of one input acts together with which of the other: a module for each way to find out, ``base.py`` for what they share."""
