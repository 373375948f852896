"""The dashboard; draws snapshots, owns no logic."""
