"""Fashion-MNIST, the reference data: its files, how they are fetched and checked."""
