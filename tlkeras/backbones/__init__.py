"""The backbones: specs, the table, and how they are found by name. Adding a backbone is one row in `table.py`."""
