"""Constrained Markov decision processes small enough for exact answers: where theory can be checked against linear programs."""
