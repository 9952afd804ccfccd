"""tlkeras: two-phase transfer learning with Keras Applications backbones."""

__version__ = "0.1.0"
