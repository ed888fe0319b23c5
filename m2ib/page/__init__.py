"""Self-contained pages, and figures, of explanations: no network, light and dark, keyboard and mouse."""
