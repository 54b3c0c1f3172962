"""Benchmarks of the toolkit and of the models; recorded results lie in results/."""
