"""Small networks that are made to be quantised, and the wide one that may teach them."""
