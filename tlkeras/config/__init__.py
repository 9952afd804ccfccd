"""The options of each command, as typed dataclasses. Nothing here imports TensorFlow."""
