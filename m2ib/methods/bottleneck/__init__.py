"""``m2ib``, the method of this project: its arithmetic, its fit, its settings, and what makes its maps sharper."""
