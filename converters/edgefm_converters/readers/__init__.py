"""Reading models of others: .keras, .h5, SavedModel."""
