"""Changes of float weights that make int8 lose less: equalisation, bias correction, rounding."""
