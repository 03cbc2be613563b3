"""The commands of `lethe`, by what they are for."""
