"""The dashboard's dialogs, one file each."""
