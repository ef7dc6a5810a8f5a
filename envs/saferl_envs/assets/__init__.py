"""Robot models, one folder each, with where their numbers come from."""
