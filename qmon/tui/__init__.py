"""The dashboard; draws snapshots, owns no logic. The only package that imports textual, and always late."""
