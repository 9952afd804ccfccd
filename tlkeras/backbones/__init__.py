"""The backbones: their specs, the table, and the lookup by name. Adding a backbone is one line in `table.py`."""
