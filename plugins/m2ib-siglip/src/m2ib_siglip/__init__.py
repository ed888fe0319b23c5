"""SigLIP, SigLIP 2 and SigLIP 2 NaFlex for m2ib."""
