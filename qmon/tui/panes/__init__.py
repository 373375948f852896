"""The dashboard's panes, one file each."""
