"""From a model to the files of its variants: source, chain of passes, conversion, gates, export."""
