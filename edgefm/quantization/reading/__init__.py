"""How a given model reads pictures and orders its classes, found by what it answers."""
